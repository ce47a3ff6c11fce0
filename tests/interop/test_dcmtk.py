"""With DCMTK's clients."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest

from storescp.uids import VERSION
from tests.dcmtk import run_client
from tests.interop import CT_SMALL, CT_SMALL_UID, InteropTestCase, data_set_bytes, not_among, shipped_files
from tests.program import make_directory
from tests.servers import LOOPBACK, Server

NO_UIDS = "its data set has no SOP Class and Instance UID"
CUT_SHORT = "it ends before its last element does"
NOT_PROPOSED = "storescu's list of SOP classes does not have its own"
NOT_EXPLICIT = "it is compressed, but its data set is in Implicit VR, which DCMTK does not understand"

# What each client cannot send, and why.
UNREADABLE = {
    "chrSQEncoding.dcm": NO_UIDS,
    "chrSQEncoding1.dcm": NO_UIDS,
    "no_meta_group_length.dcm": NO_UIDS,
    "priv_SQ.dcm": NO_UIDS,
    "MR_truncated.dcm": CUT_SHORT,
    "rtplan_truncated.dcm": CUT_SHORT,
}
NOT_WITH_STORESCU = {
    **UNREADABLE,
    "fall.dcm": NOT_PROPOSED,
    "hotiron.dcm": NOT_PROPOSED,
    "hotmetalblue.dcm": NOT_PROPOSED,
    "pet.dcm": NOT_PROPOSED,
    "pet20step.dcm": NOT_PROPOSED,
    "spring.dcm": NOT_PROPOSED,
    "summer.dcm": NOT_PROPOSED,
    "winter.dcm": NOT_PROPOSED,
    "liver_1frame.dcm": NOT_PROPOSED,
    "liver_expb_1frame.dcm": NOT_PROPOSED,
}
NOT_COMPRESSED = {
    "UN_sequence.dcm": NO_UIDS,
    "SC_rgb_jpeg.dcm": NOT_EXPLICIT,
    "rtdose_rle.dcm": NOT_EXPLICIT,
    "rtdose_rle_1frame.dcm": NOT_EXPLICIT,
}

# -v, where the one instance is CT_SMALL
VERBOSE = [
    "I: Association Received",
    "I: Association Accepted",
    "I: Received Store Request",
    f"I: Storing DICOM file: CT.{CT_SMALL_UID}",
    "I: Association Released",
]


class DCMTKTestCase(InteropTestCase):
    def send(self, name: str, port: int, *arguments: str | Path) -> None:
        ended = run_client(name, *arguments[:-1], "localhost", str(port), arguments[-1])
        self.assertEqual(0, ended.returncode, ended.stderr)

    def send_all(self, name: str, port: int, paths: Iterable[Path], *options: str) -> None:
        """Whatever the client makes of it: some of the files it cannot send."""
        run_client(name, *options, "localhost", str(port), *paths)


class LogTests(DCMTKTestCase):
    def test_verbose(self) -> None:
        """A CT image that storescu sends is five lines of -v."""
        server = self.serve("-v")
        self.send("storescu", server.port, CT_SMALL)
        self.assert_log(server, *VERBOSE)
        self.assertEqual([f"CT.{CT_SMALL_UID}"], [path.name for path in self.stored])
        self.assertEqual([], not_among([CT_SMALL], self.stored))

    def test_debug(self) -> None:
        """-d shows the CT image of storescu as the documentation does, on the context that it proposes for it."""
        server = self.serve("-d")
        self.send("storescu", server.port, CT_SMALL)
        ended = server.stop()
        lines = ended.stderr.splitlines()
        end = lines.index("D: ======================= END A-ASSOCIATE-AC ======================")
        (context,) = re.findall(r"Presentation Context ID       : (\d+)", ended.stderr)
        self.assertEqual(
            [
                'D: pydicom.read_dataset() TransferSyntax="Little Endian Implicit"',
                "I: Received Store Request",
                "D: ===================== INCOMING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-STORE RQ",
                f"D: Presentation Context ID       : {context}",
                "D: Message ID                    : 1",
                "D: Affected SOP Class UID        : 1.2.840.10008.5.1.4.1.1.2",
                f"D: Affected SOP Instance UID     : {CT_SMALL_UID}",
                "D: Data Set                      : Present",
                "D: Priority                      : Medium",
                "D: ======================= END DIMSE MESSAGE =======================",
                'D: pydicom.read_dataset() TransferSyntax="Little Endian Explicit"',
                f"I: Storing DICOM file: CT.{CT_SMALL_UID}",
                "I: Association Released",
            ],
            lines[end + 1 :],
        )
        proposed = lines.index(f"D:   Context ID:        {context} (Proposed)")
        self.assertEqual(
            [
                "D:     Abstract Syntax: =CT Image Storage",
                "D:     Proposed SCP/SCU Role: Default",
                "D:     Proposed Transfer Syntax(es):",
                "D:       =Explicit VR Little Endian",
            ],
            lines[proposed + 1 : proposed + 5],
        )
        accepted = lines.index(f"D:   Context ID:        {context} (Accepted)")
        self.assertEqual("D:     Accepted Transfer Syntax: =Explicit VR Little Endian", lines[accepted + 1])
        self.assertEqual([], [line for line in lines if line[:3] not in ("D: ", "I: ")])
        if "v3.6.7" in run_client("storescu", "--version").stdout:
            self.assertEqual("41", context)

    def test_echo(self) -> None:
        """The whole of -d for an echo; only the client's own name and version are not compared."""
        server = self.serve("-d")
        ended = run_client("echoscu", "localhost", str(server.port))
        self.assertEqual(0, ended.returncode, ended.stderr)
        implementation = re.compile(r"(Their Implementation .*: +)[^ ]+$", re.MULTILINE)
        text = implementation.sub(r"\1DCMTK", server.stop().stderr)
        self.assertEqual(
            [
                f"D: $storescp.py v{VERSION}",
                "D: ",
                "I: Association Received",
                "D: Request Parameters:",
                "D: ====================== BEGIN A-ASSOCIATE-RQ =====================",
                "D: Their Implementation Class UID:    DCMTK",
                "D: Their Implementation Version Name: DCMTK",
                "D: Application Context Name:    1.2.840.10008.3.1.1.1",
                "D: Calling Application Name:    ECHOSCU",
                "D: Called Application Name:     ANY-SCP",
                "D: Their Max PDU Receive Size:  16384",
                "D: Presentation Contexts:",
                "D:   Context ID:        1 (Proposed)",
                "D:     Abstract Syntax: =Verification SOP Class",
                "D:     Proposed SCP/SCU Role: Default",
                "D:     Proposed Transfer Syntax(es):",
                "D:       =Implicit VR Little Endian",
                "D: Requested Extended Negotiation: None",
                "D: Requested Common Extended Negotiation: None",
                "D: Requested Asynchronous Operations Window Negotiation: None",
                "D: Requested User Identity Negotiation: None",
                "D: ======================= END A-ASSOCIATE-RQ ======================",
                "I: Association Accepted",
                "D: Accept Parameters:",
                "D: ====================== BEGIN A-ASSOCIATE-AC =====================",
                "D: Our Implementation Class UID:      2.25.167549487932267690351940239577372006664",
                f"D: Our Implementation Version Name:   STORESCP_{VERSION}",
                "D: Application Context Name:    1.2.840.10008.3.1.1.1",
                "D: Responding Application Name: ANY-SCP",
                "D: Our Max PDU Receive Size:    16384",
                "D: Presentation Contexts:",
                "D:   Context ID:        1 (Accepted)",
                "D:     Accepted Transfer Syntax: =Implicit VR Little Endian",
                "D: Accepted Extended Negotiation: None",
                "D: User Identity Negotiation Response:  None",
                "D: ======================= END A-ASSOCIATE-AC ======================",
                'D: pydicom.read_dataset() TransferSyntax="Little Endian Implicit"',
                "I: Received Echo Request (MsgID 1)",
                "D: ===================== INCOMING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-ECHO RQ",
                "D: Presentation Context ID       : 1",
                "D: Message ID                    : 1",
                "D: Data Set                      : None",
                "D: ======================= END DIMSE MESSAGE =======================",
                "D: ===================== OUTGOING DIMSE MESSAGE ====================",
                "D: Message Type                  : C-ECHO RSP",
                "D: Presentation Context ID       : 1",
                "D: Message ID Being Responded To : 1",
                "D: Affected SOP Class UID        : 1.2.840.10008.1.1",
                "D: Data Set                      : None",
                "D: DIMSE Status                  : 0x0000 (Success)",
                "D: ======================= END DIMSE MESSAGE =======================",
                "I: Association Released",
            ],
            text.splitlines(),
        )

    def test_abort(self) -> None:
        """A client that aborts is an error of our log, and harms nobody after it."""
        server = self.serve()
        run_client("echoscu", "--abort", "localhost", str(server.port))
        self.send("storescu", server.port, CT_SMALL)
        self.assert_log(server, "E: Association Aborted: by the peer (ECHOSCU at PEER)")
        self.assertEqual([], not_among([CT_SMALL], self.stored))

    def test_title(self) -> None:
        """With --require-called-aet a client that calls another title is told why it is rejected."""
        server = self.serve("-v", "-aet", "ARCHIVE", "--require-called-aet")
        rejected = run_client("echoscu", "-aec", "OTHER", "localhost", str(server.port))
        self.assertIn("Called AE Title Not Recognized", rejected.stderr)
        self.send("storescu", server.port, "-aec", "ARCHIVE", CT_SMALL)
        self.assert_log(
            server,
            "I: Association Received",
            "I: Association Rejected: Result: Rejected Permanent, Source: Service User, "
            "Reason: Called AE Title Not Recognized",
            *VERBOSE,
        )


class TLSTests(DCMTKTestCase):
    def test_tls(self) -> None:
        """An instance comes over TLS as it does without, from a client that does not check who we are."""
        openssl = shutil.which("openssl")
        if openssl is None or find_spec("OpenSSL") is None:
            raise SkipTest("needs the openssl program and pyOpenSSL")
        key, certificate = (make_directory(self) + name for name in ("/key.pem", "/certificate.pem"))
        subprocess.run(
            f"{openssl} req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key} -out {certificate}".split(),
            check=True,
            capture_output=True,
        )
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        server = Server("-v", LOOPBACK, f"--listen={endpoint}", directory=str(self.directory), listening=2)
        self.addCleanup(server.kill)
        self.send("storescu", server.ports[1], "+tla", "-ic", CT_SMALL)
        self.assert_log(server, *VERBOSE)
        self.assertEqual([], not_among([CT_SMALL], self.stored))


class FileTests(DCMTKTestCase):
    def test_dcmsend(self) -> None:
        """Every uncompressed file that dcmsend can send arrives, and says what it said."""
        files = shipped_files(compressed=False)
        server = self.serve()
        self.send_all("dcmsend", server.port, [each.path for each in files], "--no-halt", "--no-uid-checks")
        self.assertEqual(0, server.stop().code)
        self.assert_arrived(files, unless=UNREADABLE)

    def test_storescu(self) -> None:
        """Every uncompressed file that storescu can send arrives, in the smallest PDUs too."""
        files = shipped_files(compressed=False)
        server = self.serve("-pdu", "4096")
        self.send_all("storescu", server.port, [each.path for each in files], "--no-halt")
        self.assertEqual(0, server.stop().code)
        self.assert_arrived(files, unless=NOT_WITH_STORESCU)

    def test_compressed_by_default(self) -> None:
        """A compressed file is rejected at negotiation, not after it was sent; -v says how it would be accepted."""
        files = shipped_files(compressed=True)
        server = self.serve("-v")
        paths = [each.path for each in files]
        ended = run_client("dcmsend", "-dn", "--no-uid-checks", "localhost", str(server.port), *paths)
        self.assertIn("No Acceptable Presentation Contexts", ended.stderr)
        rejected = "I: Presentation Context Rejected - Transfer Syntax Not Supported: "
        classes = dict.fromkeys(each.sop_class.name for each in files)
        self.assert_log(
            server,
            "I: Association Received",
            "I: Association Accepted",
            *(f"{rejected}{name}; --accept-all-syntaxes accepts it" for name in classes),
            "I: Association Released",
        )
        self.assertEqual([], self.stored)

    def test_compressed(self) -> None:
        """With --accept-all-syntaxes every compressed file that dcmsend can send arrives as it is."""
        files = shipped_files(compressed=True)
        server = self.serve("--accept-all-syntaxes")
        options = ("--decompress-never", "--no-halt", "--no-uid-checks")
        self.send_all("dcmsend", server.port, [each.path for each in files], *options)
        self.assertEqual(0, server.stop().code)
        self.assert_arrived(files, unless=NOT_COMPRESSED)

    def test_same_bytes_again(self) -> None:
        """An instance that is sent twice is stored once."""
        server = self.serve()
        self.send("dcmsend", server.port, CT_SMALL)
        (first,) = self.stored
        before = (first.stat(), data_set_bytes(first))
        self.send("dcmsend", server.port, CT_SMALL)
        self.assert_log(server)
        self.assertEqual([first], self.stored)
        self.assertEqual((before[0].st_ino, before[1]), (first.stat().st_ino, data_set_bytes(first)))
