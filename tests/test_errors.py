# mypy: allow-untyped-calls
"""The errors and the codes they are answered with."""

import copy
import errno
import pickle

from twisted.trial.unittest import SynchronousTestCase

from storescp.errors import AbortReason, Excess, InvalidCommand, InvalidMessage, InvalidPDU, Status, StoreFailure


class CodeTests(SynchronousTestCase):
    def test_abort_reasons(self) -> None:
        """The reasons of an A-ABORT have the values of PS3.8 Table 9-26."""
        expected = {
            "NOT_SPECIFIED": 0,
            "UNRECOGNIZED_PDU": 1,
            "UNEXPECTED_PDU": 2,
            "UNRECOGNIZED_PARAMETER": 4,
            "UNEXPECTED_PARAMETER": 5,
            "INVALID_PARAMETER_VALUE": 6,
        }
        self.assertEqual(expected, {reason.name: reason.value for reason in AbortReason})

    def test_statuses(self) -> None:
        """The statuses have the values of PS3.7 Annex C and PS3.4 Table B.2-1."""
        expected = {
            "SUCCESS": 0x0000,
            "PROCESSING_FAILURE": 0x0110,
            "DUPLICATE_SOP_INSTANCE": 0x0111,
            "SOP_CLASS_NOT_SUPPORTED": 0x0122,
            "UNRECOGNIZED_OPERATION": 0x0211,
            "MISTYPED_ARGUMENT": 0x0212,
            "OUT_OF_RESOURCES": 0xA700,
            "DATA_SET_DOES_NOT_MATCH_SOP_CLASS": 0xA900,
            "CANNOT_UNDERSTAND": 0xC000,
        }
        self.assertEqual(expected, {status.name: status.value for status in Status})

    def test_invalid_pdu(self) -> None:
        """An invalid PDU is an invalid parameter value where nothing else is said."""
        self.assertEqual(("no", 6), (str(InvalidPDU("no")), InvalidPDU("no").reason))
        error = InvalidPDU("no", AbortReason.UNRECOGNIZED_PDU)
        self.assertEqual(("no", 1), (str(error), error.reason))

    def test_invalid_command(self) -> None:
        """A command that cannot be performed says its status."""
        error = InvalidCommand("no", Status.UNRECOGNIZED_OPERATION)
        self.assertEqual(("no", 0x0211), (str(error), error.status))

    def test_store_failure(self) -> None:
        """A failure to store is a processing failure where nothing else is said, or any status of PS3.4."""
        self.assertEqual(("no", 0x0110), (str(StoreFailure("no")), StoreFailure("no").status))
        self.assertEqual(0xA701, StoreFailure("no", 0xA701).status)


class ExcessTests(SynchronousTestCase):
    """A limit of ours as a cause."""

    def test_words(self) -> None:
        """It is text like any other cause, whoever reads it as that, and knows which limit it is."""
        cause = Excess("max_contexts", "more than 128")
        self.assertEqual(("more than 128", "no: more than 128", "max_contexts"), (cause, f"no: {cause}", cause.limit))
        self.assertEqual({"more than 128": 1}, {cause: 1})

    def test_carried(self) -> None:
        """Every error of a peer hands its cause on as it was given, a limit as a limit, and reads as it does."""
        cause = Excess("max_contexts", "more than 128")
        errors = [
            InvalidPDU(cause),
            InvalidMessage(cause),
            InvalidCommand(cause, Status.MISTYPED_ARGUMENT),
            StoreFailure(cause),
        ]
        self.assertEqual(["more than 128"] * 4, [str(error) for error in errors])
        self.assertEqual([True] * 4, [error.cause is cause for error in errors])

    def test_copied(self) -> None:
        """It can be copied and pickled, as text can."""
        cause = Excess("max_contexts", "more than 128")
        copies = [copy.copy(cause), copy.deepcopy(cause), pickle.loads(pickle.dumps(cause))]
        self.assertEqual([("more than 128", "max_contexts")] * 3, [(each, each.limit) for each in copies])

    def test_plain(self) -> None:
        """A cause that is no limit is plain text; so is that of an error of the disk."""
        errors = [InvalidPDU("no"), StoreFailure.from_os_error(OSError(errno.EIO, "no"))]
        self.assertEqual([("no", str)] * 2, [(error.cause, type(error.cause)) for error in errors])


class DiskTests(SynchronousTestCase):
    """What the errors of file calls mean to the peer."""

    EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)

    def test_out_of_resources(self) -> None:
        """Of no space, no quota, too large a file and no descriptors the peer hears A700: it may try again later."""
        for number in self.EXHAUSTED:
            failure = StoreFailure.from_os_error(OSError(number, "the text"))
            self.assertEqual(("the text", 0xA700), (str(failure), failure.status), errno.errorcode[number])

    def test_processing_failure(self) -> None:
        """Of every other error the system knows the peer hears 0110."""
        for number in errno.errorcode.keys() - set(self.EXHAUSTED):
            failure = StoreFailure.from_os_error(OSError(number, "the text"))
            self.assertEqual(("the text", 0x0110), (str(failure), failure.status), errno.errorcode[number])

    def test_error_without_a_number(self) -> None:
        """An error that has no number is a processing failure with whatever text it has."""
        for error, text in ((OSError("odd"), "odd"), (OSError(), "")):
            failure = StoreFailure.from_os_error(error)
            self.assertEqual((text, 0x0110), (str(failure), failure.status))

    def test_file_names(self) -> None:
        """The path of the file is no part of the text."""
        failure = StoreFailure.from_os_error(OSError(errno.EIO, "Input/output error", "/archive/CT.1.2.3"))
        self.assertEqual("Input/output error", str(failure))
