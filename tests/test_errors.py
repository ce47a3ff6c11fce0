# mypy: allow-untyped-calls
"""The errors and the codes they are answered with."""

import ast
import copy
import errno
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import storescp
from storescp.errors import (
    AbortReason,
    Cause,
    Excess,
    InvalidCommand,
    InvalidMessage,
    InvalidPDU,
    Status,
    StoreFailure,
    kind_of,
)

# The kinds of causes that are no limits, but for ``protocol``, which is that of all that have none of their own.
KINDS = {
    *("timeout", "acse_timeout", "dimse_timeout", "storage_timeout"),
    *("peer", "connection", "unread", "stop", "failure", "tls", "proxy_header", "allow"),
}
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(lambda cause, number=number: pickle.loads(pickle.dumps(cause, number)) for number in range(6)),
]


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
        """It can be copied and pickled, as text can, and is a limit still."""
        cause = Excess("max_contexts", "more than 128")
        copies = [made(cause) for made in COPIES]
        expected = [(Excess, "more than 128", "max_contexts", "max_contexts")] * len(COPIES)
        self.assertEqual(expected, [(type(each), str(each), each.limit, kind_of(each)) for each in copies])

    def test_plain(self) -> None:
        """A cause that is no limit is plain text; so is that of an error of the disk."""
        errors = [InvalidPDU("no"), StoreFailure.from_os_error(OSError(errno.EIO, "no"))]
        self.assertEqual([("no", str)] * 2, [(error.cause, type(error.cause)) for error in errors])


class CauseTests(SynchronousTestCase):
    """The kind by which a cause is counted."""

    def test_words(self) -> None:
        """A cause is text like any other, whoever reads it as that, and knows its kind."""
        cause = Cause("peer", "by the peer")
        self.assertEqual(("by the peer", "no: by the peer", "peer"), (cause, f"no: {cause}", cause.kind))
        self.assertEqual({"by the peer": 1}, {cause: 1})

    def test_kind(self) -> None:
        """That of a cause is its own, that of a limit the limit; all else is a mistake in the protocol."""
        causes = [Cause("peer", "by the peer"), Excess("max_contexts", "more than 128"), "unexpected P-DATA-TF PDU", ""]
        self.assertEqual(["peer", "max_contexts", "protocol", "protocol"], list(map(kind_of, causes)))

    def test_words_say_nothing(self) -> None:
        """What a cause says, and what is made of it, is never its kind: words may be a peer's."""
        self.assertEqual(["protocol"] * 3, list(map(kind_of, ["peer", "max_contexts", Cause("peer", "stop").upper()])))
        self.assertEqual("peer", kind_of(Cause("peer", "stop")))

    def test_copied(self) -> None:
        """It can be copied and pickled, as text can, and is no limit then either."""
        cause = Cause("peer", "by the peer")
        copies = [made(cause) for made in COPIES]
        expected = [(Cause, "by the peer", "peer")] * len(COPIES)
        self.assertEqual(expected, [(type(each), str(each), kind_of(each)) for each in copies])

    def test_carried(self) -> None:
        """Every error of a peer hands it on with its kind."""
        cause = Cause("failure", "this server failed")
        errors = [
            InvalidPDU(cause),
            InvalidMessage(cause),
            InvalidCommand(cause, Status.MISTYPED_ARGUMENT),
            StoreFailure(cause),
        ]
        self.assertEqual(["failure"] * 4, [kind_of(error.cause) for error in errors])

    def test_closed(self) -> None:
        """There are these kinds and no others: each stands in the source as it is, and none is made up as it runs."""
        self.assertEqual({repr(kind) for kind in KINDS}, set(kinds_in_source()))


def kinds_in_source() -> Iterator[str]:
    """What stands as the kind of each `Cause` that is made."""
    for path in Path(storescp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Cause":
                yield ast.unparse(node.args[0])


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
