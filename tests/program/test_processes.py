"""The programs as their user meets them: processes, ports, signals, exit codes."""

import hashlib
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import trustme
from twisted.trial.unittest import SkipTest

from storescp.uids import VERSION
from tests.senders import DATA_SET, NotAccepted, Sender, c_store_of, data_set_of, send
from tests.servers import INCOMING, LOOPBACK, SCRIPT, TWISTD, Ended, Server, ServerTestCase, wait_until, without

MIB = 1024 * 1024

WARNING = "W: Whoever reaches this server may store: nothing is asked of a peer (--allow, --tls-ca, --users)\n"
NOT_ALLOWED = bytes.fromhex("03 00 00000004 00 01 01 03")  # permanent, by the user: the calling AE title


class ReceiveTests(ServerTestCase):
    def assert_stored(self, *names: str) -> None:
        self.assertEqual(sorted([*INCOMING, *names]), self.left)
        for name in names:
            self.assertEqual(DATA_SET, data_set_of(self.directory / name))

    def test_script(self) -> None:
        """The script stores an instance in the current directory, is silent, and ends on SIGTERM with exit code 0."""
        server = self.serve(LOOPBACK)
        port = server.port
        send(("127.0.0.1", port))
        self.assertEqual(Ended(0, f"storescp: listening on port {port}\n", ""), server.stop(signal.SIGTERM))
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_all_interfaces(self) -> None:
        """Where others can reach it, and nothing is asked of them, it says so in one line, however often it is used."""
        server = self.serve("0", "--ignore")
        port = server.port
        send(("127.0.0.1", port))
        send(("127.0.0.1", port))
        self.assertEqual(Ended(0, f"storescp: listening on port {port}\n", WARNING), server.stop())

    def test_interrupt(self) -> None:
        """SIGINT ends it just so: no traceback of a KeyboardInterrupt."""
        server = self.serve(LOOPBACK, "-v")
        port = server.port
        send(("127.0.0.1", port))
        log = (
            "I: Association Received\n"
            "I: Association Accepted\n"
            "I: Received Store Request\n"
            "I: Storing DICOM file: CT.1.2.3.4.5.6\n"
            "I: Association Released\n"
        )
        self.assertEqual(Ended(0, f"storescp: listening on port {port}\n", log), server.stop(signal.SIGINT))

    def test_twistd(self) -> None:
        """twistd stores an instance where -od says, logs it, ends on SIGTERM with exit code 0, and leaves no more."""
        (self.directory / "received").mkdir()
        server = self.serve(LOOPBACK, "-v", "-od", "received", command=TWISTD)
        send(server.address)
        ended = server.stop(signal.SIGTERM)
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        self.assertEqual(
            [
                "[storescp#info] Association Received",
                "[storescp#info] Association Accepted",
                "[storescp#info] Received Store Request",
                "[storescp#info] Storing DICOM file: CT.1.2.3.4.5.6",
                "[storescp#info] Association Released",
            ],
            re.findall(r"\[storescp#.*", ended.stdout),
        )
        self.assertEqual(
            ["received", "received/.incoming", "received/.incoming/lock", "received/CT.1.2.3.4.5.6"], self.left
        )
        self.assertEqual(DATA_SET, data_set_of(self.directory / "received" / "CT.1.2.3.4.5.6"))

    def test_twistd_interrupt(self) -> None:
        """SIGINT ends twistd with exit code 0 too."""
        server = self.serve(LOOPBACK, command=TWISTD)
        send(server.address)
        self.assertEqual(0, server.stop(signal.SIGINT).code)
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_several_endpoints(self) -> None:
        """It listens on as many endpoints as it is told, and announces each port."""
        endpoints = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=0.0.0.0")
        server = self.serve(*(f"--listen={endpoint}" for endpoint in endpoints), listening=2)
        one, two = server.ports
        self.assertNotEqual(one, two)
        for port in (one, two):
            send(("127.0.0.1", port))
            (self.directory / "CT.1.2.3.4.5.6").rename(self.directory / f"from {port}")
        self.assertEqual((0, WARNING), (server.stop().code, server.stderr))
        self.assert_stored(f"from {one}", f"from {two}")

    def test_socket_of_the_file_system(self) -> None:
        """A socket with a name works as a port does, and is taken away at the end."""
        server = self.serve("--listen=unix:socket", LOOPBACK)
        send(os.path.relpath(self.directory / "socket"))
        self.assertEqual((0, ""), (server.stop().code, server.stderr))
        self.assert_stored("CT.1.2.3.4.5.6")

    def test_socket_that_is_gone(self) -> None:
        """It ends in order though somebody has removed its socket."""
        for command in (SCRIPT, TWISTD):
            server = self.serve("--listen=unix:socket", LOOPBACK, command=command)
            send(server.address)  # it runs: signals are handled
            (self.directory / "socket").unlink()
            self.assertEqual(0, server.stop().code)

    def test_ignore(self) -> None:
        """--ignore answers Success and touches nothing."""
        server = self.serve(LOOPBACK, "--ignore")
        send(server.address)
        self.assertEqual(0, server.stop().code)
        self.assertEqual([], self.left)

    def test_memory(self) -> None:
        """An instance of 300 MiB goes to the disk as it comes: memory does not grow with it."""
        if not os.path.exists("/proc/self/status"):
            raise SkipTest("needs /proc")
        self.addCleanup(shutil.rmtree, self.directory)  # it is large
        server = self.serve(LOOPBACK)
        send(server.address)
        before = self.peak(server)
        fragments = [os.urandom(16378)] * (300 * MIB // 16378)
        sender = Sender(server.address)
        sender.send(*c_store_of(fragments, "1.2.3"))
        self.assertEqual(0x0000, sender.status())
        sender.release()
        grown = self.peak(server) - before
        self.assertEqual(0, server.stop().code)
        self.assertLess(grown, 64 * MIB)
        self.assertEqual(self.digest(fragments), self.digest([data_set_of(self.directory / "CT.1.2.3")]))

    def peak(self, server: Server) -> int:
        """The most memory it has had, in bytes."""
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])

    def digest(self, parts: Iterable[bytes]) -> str:
        whole = hashlib.sha256()
        for part in parts:
            whole.update(part)
        return whole.hexdigest()


class HangupTests(ServerTestCase):
    """SIGHUP: who may come in is read again."""

    def setUp(self) -> None:
        super().setUp()
        self.allow = self.directory / "allow"

    def reload(self, server: Server) -> str:
        """What is logged of it, by the script on standard error, by twistd on standard output."""
        printed, logged = len(server.stdout), len(server.stderr)

        def told() -> str:
            return server.stdout[printed:] + server.stderr[logged:]

        server.signal(signal.SIGHUP)
        wait_until(lambda: told().endswith(("read again\n", "stays\n")), "the reload")
        return told()

    def assert_refused(self, server: Server) -> None:
        self.assertEqual(NOT_ALLOWED, self.assertRaises(NotAccepted, Sender, server.address).answer)

    def test_edited(self) -> None:
        """Who was refused before is accepted after the file is edited, by the script and by twistd."""
        for command in (SCRIPT, TWISTD):
            self.allow.write_text("OTHER\n", encoding="ascii")
            server = self.serve(LOOPBACK, "--allow-file=allow", "--ignore", "-v", command=command)
            self.assert_refused(server)
            self.allow.write_text("OTHER\nTESTSCU network=127.0.0.0/8\n", encoding="ascii")
            self.assert_refused(server)  # nobody has asked to read it
            (line,) = self.reload(server).splitlines()
            self.assertEqual("All files were read again", line[-25:])
            send(server.address)
            self.assertEqual(0, server.stop().code)

    def test_open_association(self) -> None:
        """An association that is open stays open, and stores, though it would be refused by now."""
        self.allow.write_text("TESTSCU\n", encoding="ascii")
        server = self.serve(LOOPBACK, "--allow-file=allow", "-v")
        sender = Sender(server.address)
        self.addCleanup(sender.close)
        self.allow.write_text("OTHER\n", encoding="ascii")
        self.assertEqual("I: All files were read again\n", self.reload(server))
        self.assert_refused(server)
        self.assertEqual(0x0000, sender.store())
        sender.release()
        self.assertEqual(0, server.stop().code)
        self.assertEqual(DATA_SET, data_set_of(self.directory / "CT.1.2.3.4.5.6"))

    def test_broken_by_then(self) -> None:
        """A file that cannot be read by then is one line with its line's number, and all stays as it was, as often."""
        self.allow.write_text("TESTSCU\n", encoding="ascii")
        server = self.serve(LOOPBACK, "--allow-file=allow", "--ignore")
        send(server.address)
        self.allow.write_text("# ours\nOTHER\nTESTSCU network=10.1.2.3/24\n", encoding="ascii")
        fault = "10.1.2.3/24 is neither the network 10.1.2.0/24 nor an address"
        line = f"E: allow, line 3: {fault}: what was read before stays\n"
        for _ in range(2):
            self.assertEqual(line, self.reload(server))
            send(server.address)
        self.allow.unlink()
        missing = "E: allow: No such file or directory: what was read before stays\n"
        self.assertEqual(missing, self.reload(server))
        send(server.address)
        ended = server.stop()
        self.assertEqual((0, line + line + missing), (ended.code, ended.stderr))

    def test_nothing_to_read(self) -> None:
        """Where there is nothing to read again the signal ends the process, as it always did."""
        # Whoever runs the tests may have let his children ignore it.
        self.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
        for command in (SCRIPT, TWISTD):
            server = self.serve(LOOPBACK, "--allow=TESTSCU", "--ignore", command=command)
            send(server.address)  # it runs: other signals are handled
            self.assertEqual(-signal.SIGHUP, server.stop(signal.SIGHUP).code)


class BadInputTests(ServerTestCase):
    """One line, an exit code, and nothing left behind."""

    def setUp(self) -> None:
        super().setUp()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        self.taken: int = taken.getsockname()[1]
        (self.directory / "file").touch()
        allow, certificate = self.directory / "allow", self.directory / "cert.pem"
        allow.write_text("CT1\n01234567890123456\nCT1\n", encoding="ascii")
        certificate.write_bytes(trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes())
        (self.directory / "names").write_text("# ours\nanna\n", encoding="ascii")
        self.files = ["allow", "cert.pem", "file", "names"]

    def ends(self, lines: Iterable[str], command: Iterable[str]) -> list[Ended]:
        """How each of these lines ends; they run at the same time."""
        programs = [self.run_program(*line.split(), command=tuple(command)) for line in lines]
        return [program.ended() for program in programs]

    def refusals(self) -> dict[str, tuple[int, str]]:
        """The exit code and the message of each bad line."""
        missing, file = self.directory / "missing", self.directory / "file"
        taken = f"tcp:{self.taken}:interface=127.0.0.1"
        return {
            "--port 65536": (2, "argument port: must be from 0 to 65535, not 65536"),
            "--port 0 --bogus": (2, "unrecognized arguments: --bogus"),
            "--port 0 -pdu 100": (2, "argument -pdu/--max-pdu: must be from 4096 to 131072, not 100"),
            "--port 0 -aet 01234567890123456": (2, "argument -aet/--aetitle: must have 1 to 16 characters, not 17"),
            "--listen carrier-pigeon:1": (
                2,
                "argument --listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'",
            ),
            "--port 0 -od missing": (1, f"output directory {missing}: does not exist"),
            "--port 0 -q -od missing": (1, f"output directory {missing}: does not exist"),
            "--port 0 -od file": (1, f"output directory {file}: is not a directory"),
            "--port 0 --tls-key key.pem": (2, "argument --tls-key: is of no use without --tls-cert"),
            "--port 0 --allow CT1@10.1.2.3/24": (
                2,
                "argument --allow: CT1@10.1.2.3/24: 10.1.2.3/24 is neither the network 10.1.2.0/24 nor an address",
            ),
            "--port 0 --allow-file allow": (1, "allow, line 2: an AE title must have 1 to 16 characters, not 17"),
            "--port 0 --allow-file missing": (1, "missing: No such file or directory"),
            "--port 0 --allow-file .": (1, ".: Is a directory"),
            "--port 0 --allow-file file": (1, "file: it allows nobody"),
            "--port 0 --users names": (
                1,
                "names, line 2: what follows the name is no Argon2 hash: storescp --hash-passcode NAME",
            ),
            "--port 0 --users file": (1, "file: there is no user in it"),
            "--port 0 --jwt-key allow": (1, "allow: this is no public key in PEM format"),
            "--port 0 --audit-log missing/audit": (1, "missing/audit: No such file or directory"),
            "--port 0 --tls-cert missing": (1, "missing: No such file or directory"),
            "--port 0 --tls-cert allow": (1, "allow: there is no certificate in PEM format"),
            "--port 0 --tls-cert cert.pem": (
                1,
                "cert.pem: there is no private key (--tls-key) in PEM format without a passphrase",
            ),
            "--port 0 --tls-cert cert.pem --tls-key missing": (1, "missing: No such file or directory"),
            f"--listen {taken}": (
                1,
                f"{taken}: Couldn't listen on 127.0.0.1:{self.taken}: [Errno 98] Address already in use.",
            ),
        }

    def test_script(self) -> None:
        """The script answers each in one line of its own on standard error."""
        refusals = self.refusals()
        refusals[""] = (2, "give one port to listen on, as in 'storescp 11112', or --listen, not both")
        expected = {
            line: Ended(code, "", f"storescp: error: {message}\n") for line, (code, message) in refusals.items()
        }
        self.assertEqual(expected, dict(zip(refusals, self.ends(refusals, SCRIPT), strict=True)))
        self.assertEqual(self.files, self.left)

    def test_twistd(self) -> None:
        """twistd answers each in its usual form, with the same text and no traceback."""
        refusals = self.refusals()
        for (line, (_, message)), ended in zip(refusals.items(), self.ends(refusals, TWISTD), strict=True):
            last = (ended.stdout + ended.stderr).splitlines()[-1]
            self.assertEqual((1, True), (ended.code, last.endswith(f": {message}")), (line, ended))
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)
        self.assertEqual(self.files, self.left)

    def test_tls_files(self) -> None:
        """A key that cannot be read, or a TLS library that is not there, is told in one line."""
        endpoint = "ssl:0:privateKey=missing.pem:certKey=missing.pem"
        (ended,) = self.ends([f"--listen {endpoint}"], SCRIPT)
        self.assertEqual((1, "", 1), (ended.code, ended.stdout, ended.stderr.count("\n")))
        self.assertTrue(ended.stderr.startswith(f"storescp: error: {endpoint}: "), ended.stderr)
        self.assertEqual(self.files, self.left)

    def test_one_of_several_endpoints(self) -> None:
        """Where one endpoint fails, those that were opened before it leave no more than .incoming and its lock."""
        lines = [f"--listen unix:socket --listen tcp:{self.taken}:interface=127.0.0.1"]
        (ended,) = self.ends(lines, SCRIPT)
        self.assertEqual((1, 1), (ended.code, ended.stderr.count("\n")))
        self.assertEqual([*INCOMING, *self.files], self.left)

    def test_directory_that_is_not_writable(self) -> None:
        """A directory that must not be written to is told at the start."""
        locked = self.directory / "locked"
        locked.mkdir(0o555)
        (ended,) = self.ends(["0 -od locked"], without("dac_override"))
        self.assertEqual(Ended(1, "", f"storescp: error: output directory {locked}: is not writable\n"), ended)
        self.assertEqual(sorted([*self.files, "locked"]), self.left)

    def test_port_that_is_not_permitted(self) -> None:
        """A port that this user must not take is told with the real cause."""
        first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if not first.exists() or int(first.read_text(encoding="ascii")) <= 1:
            raise SkipTest("everybody may listen on every port here")
        (ended,) = self.ends(["1"], without("net_bind_service"))
        message = "tcp:1: Couldn't listen on any:1: [Errno 13] Permission denied."
        self.assertEqual(Ended(1, "", f"storescp: error: {message}\n"), ended)
        self.assertEqual(self.files, self.left)

    def test_questions(self) -> None:
        """--version and --help are answered on standard output, with exit code 0, by both."""
        for command in (SCRIPT, TWISTD):
            version, text = self.ends(["--version", "--help"], command)
            self.assertEqual(Ended(0, f"storescp {VERSION}\n", ""), version)
            self.assertEqual((0, ""), (text.code, text.stderr))
            self.assertIn("--output-directory", text.stdout)
        self.assertEqual(self.files, self.left)
