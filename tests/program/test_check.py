"""--check: all that a start does but to serve somebody, and what would be negotiated then."""

import contextlib
import fcntl
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO
from unittest import mock

import attrs
import trustme
import twisted.internet
from pydicom._uid_dict import UID_dictionary
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest

from storescp.program import check
from storescp.program.main import run
from storescp.server.factory import StorageSCPFactory
from storescp.server.users import users_line
from storescp.storage.discard import DiscardStorage
from storescp.testing import SCU, associate_rq
from storescp.uids import KNOWN
from storescp.ul.items import PresentationContextRQ
from storescp.ul.pdu import AAssociateAC
from tests.durability.test_full_disk import on_small_disk
from tests.program import make_directory
from tests.program.test_gate import PUBLIC_KEY
from tests.program.test_options import ExitCodeTestCase, script
from tests.program.test_processes import WARNING
from tests.program.test_service import Reactor
from tests.senders import ASSOCIATE_RQ, Sender
from tests.servers import (
    INCOMING,
    LOOPBACK,
    ROOT,
    SCRIPT,
    START,
    TWISTD,
    Ended,
    Program,
    ServerTestCase,
    files_in,
    free_port,
    wait_until,
    without,
)

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
PRIVATE = "1.2.840.113619.4.27"

GOOD = "Nothing stands in the way of a start."

UNCOMPRESSED = """\
  Explicit VR Little Endian                                                    1.2.840.10008.1.2.1
  Explicit VR Big Endian (Retired)                                             1.2.840.10008.1.2.2
  Implicit VR Little Endian                                                    1.2.840.10008.1.2
"""


# What an association gets depends on these options.
NEGOTIATED: tuple[tuple[str, ...], ...] = (
    (),
    ("-x=",),
    ("-xe",),
    ("-xb",),
    ("-xi",),
    ("--accept-all-syntaxes",),
    ("--accept-all-syntaxes", "-xb"),
    ("--accept-unknown-sop-classes",),
    ("--accept-unknown-sop-classes", "--accept-all-syntaxes", "-xi"),
)


def listed_name(uid: str) -> str:
    """As PS3.6 has it, with the word beside it for what is retired; the UID where there is none."""
    name, _, _, retired, *_ = UID_dictionary[uid]
    return f"{name or uid}{' (Retired)' if retired else ''}"


def with_disk(body: str) -> tuple[str, ...]:
    """The script with a method ``fsync(self, descriptor)`` of this body in the place of the disk's."""
    return (
        sys.executable,
        "-c",
        "import errno, os, sys, time\n"
        "from storescp.program.main import run\n"
        "from storescp.storage.disk import Disk\n"
        f"def fsync(self, descriptor):\n    {body}\n"
        "Disk.fsync = fsync\n"
        "sys.exit(run())",
    )


@attrs.frozen
class Told:
    """What was printed: the lines before the tables, and those of each table, in its order."""

    settings: list[str]
    transfer_syntaxes: list[str]
    sop_classes: list[str]

    @classmethod
    def of(cls, printed: str) -> "Told":
        settings, transfer_syntaxes, sop_classes, last = printed.split("\n\n")
        assert last == f"{GOOD}\n", last
        return cls(settings.splitlines(), transfer_syntaxes.splitlines(), sop_classes.splitlines())


class CheckTestCase(ServerTestCase):
    def check(self, *line: str, command: Sequence[str] = SCRIPT) -> Program:
        return self.run_program("--check", *line, command=command)

    def settings(self, *line: str) -> list[str]:
        """What is told of these options, which are good, and give no reason to warn."""
        return self.settings_of(self.check(*line))

    def settings_of(self, program: Program) -> list[str]:
        ended = program.ended()
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        return Told.of(ended.stdout).settings


class HereTestCase(ExitCodeTestCase):
    """--check within this process, with ports in memory that somebody has to close; nothing is stored."""

    def setUp(self) -> None:
        self.patch(check, "take_over", lambda _reactor: None)  # its signals are trial's

    def check(self, *line: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        stdout, stderr = io.StringIO(), io.StringIO()
        return self.code(stdout, stderr, *line), stdout.getvalue(), stderr.getvalue()

    def code(self, stdout: IO[str], stderr: IO[str], *line: str) -> int:
        with (
            mock.patch.object(twisted.internet, "reactor", Reactor(), create=True),
            mock.patch.multiple(sys, stdout=stdout, stderr=stderr),
        ):
            return run(["--check", "--ignore", *line])

    def told(self, *line: str) -> Told:
        """What is told of these options, which are good, and give no reason to warn."""
        code, printed, errors = self.check(*line)
        self.assertEqual((0, ""), (code, errors), line)
        return Told.of(printed)


class NegotiationTests(HereTestCase):
    """What is told is what an association gets."""

    def test_each(self) -> None:
        """With each option the transfer syntaxes are told in the order of preference, and all SOP Classes."""
        for options in NEGOTIATED:
            self.assert_negotiated(self.told(LOOPBACK, *options), options)

    def assert_negotiated(self, told: Told, options: Iterable[str]) -> None:
        self.factory = StorageSCPFactory(script("0", *options), DiscardStorage(), Clock())
        self.factory.doStart()
        head, *rows = told.transfer_syntaxes
        self.assertEqual("Transfer Syntaxes, for each SOP Class the first of these that is proposed:", head)
        syntaxes = self.uids(rows)
        self.assertEqual(sorted(syntaxes), sorted(self.accepted_syntaxes()))
        # Of those that are left, the first one told is the first one taken, wherever it stands in the proposal.
        left = [(CT, tuple(sorted(syntaxes[begin:]))) for begin in range(len(syntaxes))]
        self.assertEqual(syntaxes, self.answers(left))

        head, *rows = told.sop_classes
        last = ["  and any that PS3.6 does not know"]
        if any(self.answers([(PRIVATE, (syntaxes[0],))])):
            self.assertEqual(last, rows[-1:])
            rows.pop()
        self.assertNotIn(last[0], rows)
        sop_classes = self.uids(rows)
        self.assertEqual(f"SOP Classes, {len(rows)}:", head)
        self.assertEqual(VERIFICATION, sop_classes[0])
        names = [row[2:].rpartition(" ")[0].strip().removesuffix(" (Retired)").casefold() for row in rows[1:]]
        self.assertEqual(sorted(names), names)
        self.assertEqual(sorted(sop_classes), sorted(self.accepted_sop_classes(syntaxes[-1])))

    def uids(self, rows: Iterable[str]) -> list[str]:
        """Those of these rows, each with its name in PS3.6 or, where it has none there, with itself."""
        uids = [row.rpartition(" ")[2] for row in rows]
        expected = [f"  {listed_name(uid):<76} {uid}" for uid in uids]
        self.assertEqual(expected, list(rows))
        return uids

    def accepted_syntaxes(self) -> list[str]:
        """Of those that PS3.6 knows."""
        known = [uid for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax" and uid in KNOWN]
        return list(filter(None, self.answers([(CT, (uid,)) for uid in known])))

    def accepted_sop_classes(self, syntax: str) -> list[str]:
        """Of all that PS3.6 knows, whatever it is."""
        uids = [uid for uid in UID_dictionary if uid in KNOWN]  # pynetdicom adds some that PS3.6 does not have
        answers = self.answers([(uid, (syntax,)) for uid in uids])
        return [uid for uid, answer in zip(uids, answers, strict=True) if answer]

    def answers(self, proposed: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
        """The transfer syntax that each proposed context gets, or nothing."""
        return [answer for begin in range(0, len(proposed), 128) for answer in self.negotiated(proposed[begin:][:128])]

    def negotiated(self, proposed: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
        contexts = [PresentationContextRQ(2 * place + 1, *each) for place, each in enumerate(proposed)]
        scu = SCU(self.factory, Clock(), associate_rq(contexts))
        assert isinstance(scu.answer, AAssociateAC), scu.answer
        scu.disconnect()
        for context in scu.answer.presentation_contexts:
            yield context.transfer_syntax if context.result == 0 else ""


class SettingsTests(CheckTestCase):
    def test_defaults(self) -> None:
        """Without options it tells the defaults, and warns as a start does that nothing is asked of anybody."""
        ended = self.check("0").ended()
        self.assertEqual((0, WARNING), (ended.code, ended.stderr))
        self.assertEqual(
            "AE title                          STORESCP; any may be called\n"
            "Listens on                        tcp:0\n"
            f"Stores into                       {self.directory}\n"
            "Success waits for                 file and name\n"
            "Another content of a UID          keep\n"
            "Who may store                     whoever reaches this server\n"
            "Maximum PDU length                16384 bytes\n"
            "Asynchronous Operations Window    32 performed, 1 invoked\n"
            "\n"
            "Transfer Syntaxes, for each SOP Class the first of these that is proposed:\n"
            f"{UNCOMPRESSED}"
            "\n",
            ended.stdout.partition("SOP Classes")[0],
        )

    def test_every_row(self) -> None:
        """It tells all that was asked for, from the command line or a file, also who may store."""
        (self.directory / "sub").mkdir()
        (self.directory / "allow").write_text("CT1\n")
        server = trustme.CA().issue_cert("localhost")
        server.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "cert.pem"))
        trustme.CA().cert_pem.write_to_path(str(self.directory / "ca.pem"))
        (self.directory / "storescp.toml").write_text(
            'port = 0\naetitle = "ARCHIVE"\nrequire-called-aet = true\n'
            'tls-cert = "cert.pem"\ntls-ca = "ca.pem"\nallow = ["CT1", "CT2@10.1.2.0/24"]\nallow-file = "allow"\n'
            'max-pdu = 4096\non-duplicate = "reject"\nauth = "anonymous"\ntls-profile = "bcp195-modified"\n'
        )
        line = ("--config=storescp.toml", "-od", "sub", "--durability=file", "--http=0", "-pdu", "8192")
        self.assertEqual(
            [
                "AE title                          ARCHIVE; no other may be called",
                "Listens on                        tls:tcp:0",
                f"Stores into                       {self.directory / 'sub'}",
                "Success waits for                 file",
                "Another content of a UID          reject",
                "Who may store                     those of --allow (2), those of allow, "
                "with a certificate from ca.pem, as a verified user",
                "TLS                               bcp195-modified, cert.pem",
                "Can be looked at on               0",
                "Maximum PDU length                8192 bytes",
                "Asynchronous Operations Window    32 performed, 1 invoked",
            ],
            self.settings(*line),
        )
        left = ["allow", "ca.pem", "cert.pem", "storescp.toml", "sub", *(f"sub/{each}" for each in INCOMING)]
        self.assertEqual(left, self.left)

    def test_hostile(self) -> None:
        """What a name does to a terminal it does not do here, and a name that is no text is told, too."""
        name = b"a\x1b[31m\n\xc2\x9b\xff"
        os.mkdir(os.fsencode(self.directory) + b"/" + name)
        settings = self.settings(LOOPBACK, "-od", os.fsdecode(name))
        self.assertEqual(
            [rf"Stores into                       {self.directory}/a\x1b[31m\x0a\x9b\udcff"],
            [row for row in settings if row.startswith("Stores")],
        )
        self.assertEqual(8, len(settings))


class OtherSettingsTests(HereTestCase):
    def test_others(self) -> None:
        """It tells what is not stored, and what nothing waits for."""
        line = (
            *("--listen=unix:socket", "--durability=none", "--on-duplicate=overwrite"),
            *("--users", self.users(), "--insecure-identity"),
        )
        self.assertEqual(
            [
                "AE title                          STORESCP; any may be called",
                "Listens on                        unix:socket",
                "Stores into                       nothing (--ignore)",
                "Success waits for                 nothing",
                "Another content of a UID          overwrite",
                "Who may store                     as a verified user",
                "Maximum PDU length                16384 bytes",
                "Asynchronous Operations Window    32 performed, 1 invoked",
            ],
            self.told(*line).settings,
        )

    def users(self) -> str:
        path = os.path.join(make_directory(self), "users")
        with open(path, "w") as file:
            file.write(users_line("anna", "secret"))
        return path

    def test_quiet(self) -> None:
        """What was asked to be told is told with -q, too, and -d adds nothing to it."""
        (first, *others) = (
            self.told(LOOPBACK, *line) for line in ((), ("-q",), ("-v",), ("-d",), ("--log-format=json",))
        )
        self.assertEqual([first] * 4, others)

    def test_audit_log(self) -> None:
        """An audit log is not made, and one that is there stays as it is."""
        path = Path(make_directory(self), "audit")
        for content in (None, "a line\n"):
            if content is not None:
                path.write_text(content)
            self.told(LOOPBACK, f"--audit-log={path}")
            self.assertEqual(content, path.read_text() if path.exists() else None)

    def test_other_encodings(self) -> None:
        """What standard output does not take is escaped."""
        encoded = io.BytesIO()
        stdout, stderr = io.TextIOWrapper(encoded, "ascii"), io.StringIO()
        self.assertEqual((0, ""), (self.code(stdout, stderr, "--listen=unix:ä"), stderr.getvalue()))
        lines = encoded.getvalue().split(b"\n")
        self.assertIn(rb"Listens on                        unix:\xe4", lines)

    def test_gates(self) -> None:
        """Each that asks something of who comes is told."""
        path = os.path.join(make_directory(self), "key.pem")
        with open(path, "w") as file:
            file.write(PUBLIC_KEY)
        for line, gate in (
            (("--allow=CT1", "--allow=CT2"), "those of --allow (2)"),
            (("--auth=anonymous",), "as a verified user"),
            (("--jwt-key", path, "--insecure-identity"), "as a verified user"),
            (
                ("--jwt-key", path),
                "as a verified user, over TLS alone, which is not spoken here (--tls-cert, --insecure-identity)",
            ),
            (("--require-called-aet",), "whoever reaches this server"),
        ):
            self.assertIn(f"Who may store                     {gate}", self.told(LOOPBACK, *line).settings)


class LikeAStartTests(CheckTestCase):
    """It does all that a start does, and no more stays of it than of a start and a stop."""

    def test_nothing_more(self) -> None:
        """What is in the directory afterwards is as after a start and a stop; leftovers are removed, and told."""
        leftover = f"{'0' * 32}.part"
        told = []
        for name in ("checked", "served"):
            incoming = self.directory / name / ".incoming"
            incoming.mkdir(parents=True)
            for each in (leftover, "of somebody else"):
                (incoming / each).write_bytes(b"1")
            (self.directory / name / "CT.1.2.3").write_bytes(b"2")
            line = ("-od", name, LOOPBACK, "--listen=unix:socket")
            if name == "checked":
                ended = self.check(*line).ended()
                self.assertIn(GOOD, ended.stdout)
            else:
                ended = self.serve(*line).stop()
            told.append((ended.code, ended.stderr.replace(name, "NAME")))
        path = self.directory / "NAME" / ".incoming"
        removed = f"W: Removed 1 temporary file(s) of an earlier run from {path}\n"
        self.assertEqual([(0, removed)] * 2, told)
        expected = [*INCOMING, ".incoming/of somebody else", "CT.1.2.3"]
        self.assertEqual([expected] * 2, [files_in(self.directory / name) for name in ("checked", "served")])
        self.assertEqual({"checked", "served"}, set(os.listdir(self.directory)))

    def test_other_server(self) -> None:
        """It does not get past the lock of a server that runs, which goes on."""
        server = self.serve(LOOPBACK)
        sender = Sender(server.address)
        message = (
            f"storescp: error: output directory {self.directory}: another storescp stores there: "
            "stop that one, or choose another directory\n"
        )
        self.assertEqual(Ended(1, "", message), self.check(LOOPBACK).ended())
        self.assertEqual(0x0000, sender.store())
        sender.release()
        self.assertEqual(0, server.stop().code)
        self.assertEqual([*INCOMING, "CT.1.2.3.4.5.6"], self.left)

    def test_afterwards(self) -> None:
        """A server starts at once on the same port, with the same names."""
        port = free_port()
        line = (f"--listen=tcp:{port}:interface=127.0.0.1", "--listen=unix:socket", LOOPBACK)
        self.settings(*line)
        self.assertEqual(INCOMING, self.left)
        server = self.serve(*line)
        self.assertEqual((0, ""), (server.stop().code, server.stderr))

    def test_port_in_use(self) -> None:
        """That the last of all ports is in use is told as a start tells it, and those before it are closed."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            message = f"--http {port}: Couldn't listen on 127.0.0.1:{port}: [Errno 98] Address already in use."
            ended = self.check(LOOPBACK, "--listen=unix:socket", "--http", str(port)).ended()
            self.assertEqual(Ended(1, "", f"storescp: error: {message}\n"), ended)
            self.assertEqual(INCOMING, self.left)

    def test_no_readiness(self) -> None:
        """Whoever waits for READY=1 of a server is not told that this is one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = os.path.relpath(self.directory / "notify")
            manager.bind(path)
            manager.setblocking(False)
            with mock.patch.dict(os.environ, NOTIFY_SOCKET=os.path.abspath(path)):
                self.assertEqual(0, self.check(LOOPBACK, "--ignore").ended().code)
            self.assertRaises(BlockingIOError, manager.recv, 1)


class SameRefusalsTests(ExitCodeTestCase):
    """What keeps a server from starting is told by --check in the same words, with the same code."""

    def setUp(self) -> None:
        self.directory = make_directory(self)
        for name, content in {
            "file": "",
            "allow": "CT1\n01234567890123456\nCT1\n",
            "names": "# ours\nanna\n",
            "allow.toml": "port = 0\n\nallow = 'CT1@10.1.2.3/24'\n",
            "listen.toml": "# ours\nlisten = ['tcp:0',\n'carrier-pigeon:1']\n",
        }.items():
            with open(os.path.join(self.directory, name), "w") as file:
                file.write(content)
        self.left = sorted(os.listdir(self.directory))

    def test_each(self) -> None:
        """Whatever it is; of several things it is the one that a start tells."""
        good = ("0", "-od", self.directory)
        nowhere = ("-od", f"{self.directory}/missing")
        codes = {
            ("--bogus",): 2,
            (): 2,
            ("-od", self.directory): 2,
            ("65536",): 2,
            ("0", *nowhere): 1,
            ("0", "-q", *nowhere): 1,
            ("0", "-od", f"{self.directory}/file"): 1,
            ("0", "-od", ""): 1,
            ("--listen=carrier-pigeon:1",): 2,
            ("--listen=tcp:dicom",): 2,
            ("--listen=tls:tcp:2762",): 2,
            (*good, "--http=carrier-pigeon:1"): 2,
            (*good, "--http="): 2,
            (*good, "--allow=CT1@10.1.2.3/24"): 2,
            (*good, f"--allow-file={self.directory}/allow"): 1,
            (*good, f"--allow-file={self.directory}/missing"): 1,
            (*good, f"--allow-file={self.directory}/file"): 1,
            (*good, f"--users={self.directory}/names"): 1,
            (*good, f"--jwt-key={self.directory}/names"): 1,
            (*good, "--auth=nobody"): 2,
            (*good, "--auth=anonymous", "--auth=anonymous"): 2,
            (*good, f"--tls-cert={self.directory}/names"): 1,
            (*good, f"--tls-cert={self.directory}/missing"): 1,
            (*good, "--tls-key=key.pem"): 2,
            ("--listen=tcp:0", f"--tls-cert={self.directory}/missing"): 2,
            (*good, f"--audit-log={self.directory}/missing/audit"): 1,
            (*good, f"--audit-log={self.directory}/file/audit"): 1,
            (*good, f"--audit-log={self.directory}"): 1,
            (*good, "--audit-log="): 1,
            (f"--config={self.directory}/missing",): 1,
            (f"--config={self.directory}/missing", "--bogus"): 2,
            (f"--config={self.directory}/allow.toml",): 2,
            (f"--config={self.directory}/allow.toml", "--allow=CT1", *nowhere): 1,
            (f"--config={self.directory}/listen.toml", "-od", self.directory): 2,
            # of several things
            ("0", *nowhere, "--allow=CT1@10.1.2.3/24"): 2,
            ("0", *nowhere, "--auth=nobody"): 2,
            ("0", *nowhere, f"--tls-cert={self.directory}/missing"): 1,
            ("0", *nowhere, "--http=carrier-pigeon:1"): 1,
            ("--listen=carrier-pigeon:1", *nowhere): 1,
            ("--listen=unix:a/b", f"--users={self.directory}/missing", *nowhere): 1,
            (f"--config={self.directory}/allow.toml", *nowhere): 2,
            (f"--config={self.directory}/listen.toml", *nowhere): 1,
        }
        for line, code in codes.items():
            started = self.run_line(*line)
            self.assertEqual((code, "", 1), (*started[:2], started[2].count("\n")), (line, started))
            for checked in (self.run_line("--check", *line), self.run_line(*line, "--check")):
                self.assertEqual(started, checked)
        self.assertEqual(self.left, sorted(os.listdir(self.directory)))


class RefusedProcessTests(CheckTestCase):
    """The same of whole programs."""

    def test_each(self) -> None:
        """One line, exit code, nothing left; of twistd 1, which tells in its usual form what has not been parsed."""
        (self.directory / "storescp.toml").write_text("# ours\nlisten = 'carrier-pigeon:1'\n")
        missing = f"output directory {self.directory / 'missing'}: does not exist"
        pigeon = "storescp.toml, line 2: listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'"
        for line, code, message, command in (
            (("0", "-od", "missing"), 1, missing, SCRIPT),
            (("--config=storescp.toml",), 1, pigeon, TWISTD),
        ):
            ended = self.check(*line, command=command).ended()
            self.assertEqual(Ended(code, "", f"storescp: error: {message}\n"), ended)
        ended = self.check("--port=65536", command=TWISTD).ended()
        told = (ended.stdout + ended.stderr).splitlines()[-1]
        self.assertEqual((1, True), (ended.code, told.endswith(": argument port: must be from 0 to 65535, not 65536")))
        self.assertEqual(["storescp.toml"], self.left)

    def test_locked(self) -> None:
        """A directory where the audit log could not be made is told as a start tells it."""
        (self.directory / "locked").mkdir(0o555)
        ended = self.check(LOOPBACK, "--ignore", "--audit-log=locked/audit", command=without("dac_override")).ended()
        self.assertEqual(Ended(1, "", "storescp: error: locked/audit: Permission denied\n"), ended)

    def test_not_permitted(self) -> None:
        """A port that this user must not take is told with the real cause."""
        first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if not first.exists() or int(first.read_text(encoding="ascii")) <= 1:
            raise SkipTest("everybody may listen on every port here")
        message = "tcp:1: Couldn't listen on any:1: [Errno 13] Permission denied."
        expected = Ended(1, "", f"storescp: error: {message}\n")
        self.assertEqual(expected, self.check("1", command=without("net_bind_service")).ended())
        self.assertEqual([], self.left)


class ProbeTests(CheckTestCase):
    """The disk is asked to take something, not just to be there."""

    def assert_refused(self, fault: str, *line: str, command: Sequence[str], name: str = "") -> None:
        expected = Ended(1, "", f"storescp: error: output directory {self.directory / name}: {fault}\n")
        self.assertEqual(expected, self.check(LOOPBACK, *line, command=command).ended())

    def test_full(self) -> None:
        """A disk without room for one block is told, and nothing stays on it."""
        received = self.directory / "full"
        received.mkdir()
        fill = 'cd full && mkdir .incoming && >.incoming/lock && ! cat /dev/zero >filler 2>/dev/null && cd .. && "$@"'
        after = '; code=$?; ls full/.incoming >left; exit "$code"'
        command = (*on_small_disk(received), "sh", "-c", fill + after, "sh", *SCRIPT)
        self.assert_refused("No space left on device", "-od", "full", command=command, name="full")
        self.assertEqual("lock\n", (self.directory / "left").read_text())

    def test_not_synced(self) -> None:
        """A disk that cannot sync is told, whatever Success waits for; nothing of it stays, nor of the endpoints."""
        command = with_disk("raise OSError(errno.EIO, os.strerror(errno.EIO))")
        line = ("--durability=none", "--listen=unix:socket")
        self.assert_refused("Input/output error", *line, command=command)
        self.assertEqual(INCOMING, self.left)

    def test_synced(self) -> None:
        """A file is synced before it says so, and forgotten."""
        command = with_disk(
            'open("log", "a").write(f"{os.listdir(\'.incoming\')} {os.fstat(descriptor).st_size > 0}\\n")'
        )
        self.assertEqual(0, self.check(LOOPBACK, command=command).ended().code)
        first, *_ = (self.directory / "log").read_text().splitlines()
        self.assertRegex(first, r"^\['(lock', '[0-9a-f]{32}\.part|[0-9a-f]{32}\.part', 'lock)'\] True$")
        self.assertEqual([*INCOMING, "log"], self.left)

    def test_ignored(self) -> None:
        """Where nothing is stored no disk is asked."""
        command = with_disk("raise OSError(errno.EIO, os.strerror(errno.EIO))")
        self.assertEqual(0, self.check(LOOPBACK, "--ignore", command=command).ended().code)
        self.assertEqual([], self.left)

    def test_read_only(self) -> None:
        """A directory that is not writable is told, though .incoming is."""
        received = self.directory / "received"
        (received / ".incoming").mkdir(parents=True)
        received.chmod(0o555)
        self.addCleanup(received.chmod, 0o755)
        self.assert_refused("is not writable", "-od", "received", command=without("dac_override"), name="received")
        self.assertEqual(["received", "received/.incoming"], self.left)

    def test_nobody_is_served(self) -> None:
        """Who comes while the disk takes its time is not answered, and nothing is stored."""
        command = with_disk("open('syncs', 'w')\n    while not os.path.exists('go'): time.sleep(0.01)")
        program = self.check("--listen=unix:socket", "--http=unix:http", command=command)
        wait_until((self.directory / "syncs").exists, "the probe")
        peers = [
            self.connected(name, said) for name, said in (("socket", ASSOCIATE_RQ), ("http", b"GET / HTTP/1.0\r\n\r\n"))
        ]
        (self.directory / "go").touch()
        ended = program.ended()
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        self.assertEqual([b"", b""], [self.received(peer) for peer in peers])
        self.assertEqual([*INCOMING, "go", "syncs"], self.left)

    def test_interrupted(self) -> None:
        """Who does not want to wait for a disk that hangs ends it as a server, by two signals."""
        program = self.check(LOOPBACK, command=with_disk("open('syncs', 'w')\n    while True: time.sleep(0.01)"))
        wait_until((self.directory / "syncs").exists, "the probe")

        def ended() -> bool:
            program.signal(signal.SIGINT)
            return not program.running

        wait_until(ended, "the end")
        self.assertEqual(Ended(1, "", ""), program.ended())

    def connected(self, name: str, said: bytes) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        self.addCleanup(peer.close)
        peer.settimeout(START)
        peer.connect(os.path.relpath(self.directory / name))
        peer.sendall(said)
        return peer

    def received(self, peer: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionResetError):
            return peer.recv(1000)
        return b""


class NotHandedOverTests(HereTestCase):
    """Sockets that only a service manager hands over, for one who does it by hand."""

    ENDPOINT = "systemd:domain=INET:index=0"

    def not_checked(self, *line: str) -> list[str]:
        label = f"{'Not checked':<34}"
        return [row.removeprefix(label) for row in self.told(*line).settings if row.startswith(label)]

    def test_told(self) -> None:
        """That they are not checked is told, and all else is checked."""
        path = os.path.join(make_directory(self), "cert.pem")
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
        each, tls = self.ENDPOINT, f"--tls-cert={path}"
        told = f"{each}, which a service manager hands over"
        self.assertEqual([told], self.not_checked(f"--listen={each}"))
        self.assertEqual([told, f"haproxy:{told}"], self.not_checked(f"--listen={each}", f"--listen=haproxy:{each}"))
        self.assertEqual([told], self.not_checked(f"--listen={each}", LOOPBACK))
        self.assertEqual([f"tls:{told}"], self.not_checked(f"--listen=tls:{each}", tls))
        self.assertEqual([f"tls:{told}"], self.not_checked(f"--listen=tls:{each}", tls, LOOPBACK))
        self.assertEqual([], self.not_checked(LOOPBACK))
        row = f"Listens on                        {each}, {LOOPBACK.removeprefix('--listen=')}"
        self.assertIn(row, self.told(f"--listen={each}", LOOPBACK).settings)

    def test_all_else(self) -> None:
        """What stands in the way beside them is told as ever, and so is what is wrong with what stands before them."""
        each = self.ENDPOINT
        for line, code, message in (
            ((each, "--listen=tcp:104"), 1, "tcp:104: Couldn't listen on any:104: [Errno 98] Address already in use."),
            ((each, "--listen=carrier-pigeon:1"), 2, None),
            ((each, "--tls-cert=missing"), 2, None),
            ((f"tls:{each}",), 2, f"argument --listen: tls:{each}: it needs --tls-cert"),
            (
                (f"haproxy:tls:{each}",),
                2,
                f"argument --listen: haproxy:tls:{each}: it is tls:haproxy:ENDPOINT, in this order and each once",
            ),
        ):
            ended = self.check("--listen", *line)
            self.assertEqual((code, "", 1), (*ended[:2], ended[2].count("\n")), ended)
            if message:
                self.assertEqual(f"storescp: error: {message}\n", ended[2])


class HandedOverTests(CheckTestCase):
    """Such sockets, for whom a service manager runs."""

    HANDING_OVER = (
        sys.executable,
        "-c",
        "import os, socket, sys\n"
        "listening = socket.create_server(('127.0.0.1', 0))\n"
        "os.dup2(listening.fileno(), 3)\n"
        "os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='storescp')\n"
        f"os.execv(sys.executable, [*{SCRIPT!r}, *sys.argv[1:]])",
    )

    def test_checked(self) -> None:
        """They are checked as any other."""
        settings = self.settings_of(self.check("--listen=systemd:domain=INET:index=0", command=self.HANDING_OVER))
        self.assertEqual([], [row for row in settings if row.startswith("Not checked")])

    def test_another(self) -> None:
        """One that was not handed over with the others stands in the way of a start."""
        other = "systemd:domain=INET:index=1"
        message = f"{other}: no such socket was handed over with its name, as systemd does"
        ended = self.check(f"--listen={other}", command=self.HANDING_OVER).ended()
        self.assertEqual(Ended(1, "", f"storescp: error: {message}\n"), ended)


class OutputTests(CheckTestCase):
    def test_twistd(self) -> None:
        """Under twistd, as a daemon or not, it prints the same, ends with exit code 0 leaving no file of twistd's."""
        daemon = tuple(word for word in TWISTD if word not in ("-n", "--pidfile="))
        ended = [self.check(LOOPBACK, "--ignore", command=command).ended() for command in (SCRIPT, TWISTD, daemon)]
        self.assertEqual([ended[0]] * 3, ended)
        self.assertEqual((0, ""), (ended[0].code, ended[0].stderr))
        self.assertEqual([], self.left)

    def printing_to(self, stdout: int) -> "subprocess.Popen[bytes]":
        """What prints there, and is waited for."""
        program = subprocess.Popen(
            [*SCRIPT, "--check", LOOPBACK, "--ignore"],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        os.close(stdout)
        return program

    def ended(self, program: "subprocess.Popen[bytes]") -> Ended:
        _, errors = program.communicate(timeout=START)
        return Ended(program.returncode, "", errors.decode())

    def test_closed_pipe(self) -> None:
        """Whoever reads may stop doing so, before or amid what is printed: the exit code still tells."""
        reading, writing = os.pipe()
        os.close(reading)
        before = self.printing_to(writing)
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # less than is printed
        amid = self.printing_to(writing)
        left = 2 * io.DEFAULT_BUFFER_SIZE  # after that there is one piece more
        while left:
            left -= len(os.read(reading, left))
        os.close(reading)
        self.assertEqual([Ended(0, "", "")] * 2, [self.ended(each) for each in (before, amid)])

    def test_full_disk(self) -> None:
        """What cannot be printed is told in one line."""
        ended = self.ended(self.printing_to(os.open("/dev/full", os.O_WRONLY)))
        self.assertEqual(Ended(1, "", "storescp: error: standard output: No space left on device\n"), ended)
