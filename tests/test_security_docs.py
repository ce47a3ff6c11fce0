"""docs/security.rst: its set-ups are run as they are printed, and what it says is compared with what happens.

Of a command nothing is changed but where it listens and sends to: each port becomes a free one of this machine,
``archive.example.org`` this machine, and in the file that allows networks 10.1.2.0/24 its addresses. An address in what
is printed stands for any; how storescu says that its connection has failed, too.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest

from storescp import Access, Config, Realm
from storescp.server.tls import PROFILES
from storescp.testing import SCU, associate_rq
from storescp.ul.items import UserIdentityRQ
from storescp.ul.pdu import AAssociateAC, AAssociateRJ
from tests.interop import CT_SMALL, CT_SMALL_UID
from tests.servers import LOOPBACK, ROOT, SCRIPT, Server, ServerTestCase, wait_until, without_addresses

PAGE = (ROOT / "docs" / "security.rst").read_text()

_TITLE = re.compile(r"(?m)^(.+)\n([=~-])\2+$\n")
_BLOCK = re.compile(r"\.\. code-block:: \w+\n(?:   :caption: (.+)\n)?\n((?:   .*\n|\n)+)")
_FAILED = re.compile(r"(?m)^(F: Association Request Failed:) \S.*$")
_LISTEN = {"11112": "tcp:0:interface=127.0.0.1", "2762": "tls:tcp:0:interface=127.0.0.1"}

SECONDS = 60  # for a command


@attrs.frozen
class Block:
    caption: str
    content: str


def section(title: str) -> str:
    """The text below a title, up to the next one."""
    found = list(_TITLE.finditer(PAGE))
    (number,) = (number for number, match in enumerate(found) if match[1] == title)
    end = found[number + 1].start() if number + 1 < len(found) else len(PAGE)
    return PAGE[found[number].end() : end]


def blocks(title: str) -> list[Block]:
    return [Block(match[1] or "", _outdented(match[2])) for match in _BLOCK.finditer(section(title))]


def _outdented(text: str) -> str:
    return re.sub(r"(?m)^   ", "", text).rstrip("\n") + "\n"


class SetUpTestCase(ServerTestCase):
    """Does what a section says, block by block, as its captions name them."""

    def setUp(self) -> None:
        super().setUp()
        shutil.copy(CT_SMALL, self.directory / "image.dcm")
        self.bin = self.directory / "bin"
        self.bin.mkdir()
        self._script("storescp", f'exec "{SCRIPT[0]}" -m storescp "$@"')
        self._script("python3", f'exec "{sys.executable}" "$@"')
        # pynetdicom installs a storescu beside our Python.
        beside = str(Path(sys.executable).parent)
        self.path = os.pathsep.join([str(self.bin), *(each for each in os.get_exec_path() if each != beside)])
        for name in ("bash", "openssl", "storescu"):
            if shutil.which(name, path=self.path) is None:
                raise SkipTest(f"{name} is not installed")
        self.server: Server | None = None
        self.printed: list[str] = []  # by that server, as the page has it

    def _script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def bash(self, commands: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", commands],
            cwd=self.directory,
            env={**os.environ, "PATH": self.path, "PYTHONPATH": str(ROOT), "TCP_NODELAY": "1"},
            input="secret\n",  # for who asks for a passcode
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def prepare(self, block: Block) -> None:
        """Make a file, or what is made once."""
        if block.caption.startswith("File "):
            content = block.content.replace("10.1.2.0/24", "127.0.0.0/8")
            (self.directory / block.caption.removeprefix("File ")).write_text(content)
        else:
            ended = self.bash(block.content)
            self.assertEqual(0, ended.returncode, f"{block.content}{ended.stderr}")

    def follow(self, title: str) -> None:
        """Do all that the section says."""
        waiting = blocks(title)
        while waiting:
            block = waiting.pop(0)
            kind = re.split("[ ,:]", block.caption)[0]
            if kind in ("File", "Once"):
                self.prepare(block)
            elif block.caption == "The server prints":
                self.printed += block.content.splitlines()
            elif block.caption.startswith("The server"):
                self.stop()
                self.start(block.content)
            elif block.caption == "A device sends":
                self.send(block.content)
            else:
                answer = waiting.pop(0)
                self.assertEqual(("A device is refused", "It prints"), (block.caption, answer.caption))
                self.refused(block.content, answer.content)
        self.stop()

    def start(self, commands: str) -> None:
        ((port, listen),) = ((port, listen) for port, listen in _LISTEN.items() if f"storescp {port} " in commands)
        commands = commands.replace(f"storescp {port} ", f"exec storescp --listen {listen} ")
        self.server = Server(
            directory=str(self.directory),
            command=("bash", "-e", "-c", f'PATH="{self.path}"\n{commands}'),
        )
        self.addCleanup(self.server.kill)

    def stop(self) -> None:
        """End the server, if there is one, and see that it has printed what the page has, and nothing else."""
        if self.server is None:
            return
        server, self.server = self.server, None
        expected = [re.sub(r"10\.1\.2\.\d+:\d+", "PEER", line) for line in self.printed]
        self.printed = []
        wait_until(lambda: server.stderr.count("\n") >= len(expected), "what the server prints")
        ended = server.stop()
        self.assertEqual((0, expected), (ended.code, without_addresses(ended.stderr).splitlines()))

    def device(self, command: str) -> "subprocess.CompletedProcess[str]":
        assert self.server is not None
        replaced, times = re.subn(r"archive\.example\.org (11112|2762)", f"localhost {self.server.port}", command)
        self.assertEqual(1, times, command)
        return self.bash(replaced)

    def send(self, command: str) -> None:
        """What it has sent is there, each time anew, and it prints nothing."""
        ended = self.device(command)
        self.assertEqual((0, "", ""), (ended.returncode, ended.stdout, ended.stderr), command)
        (self.directory / "images" / f"CT.{CT_SMALL_UID}").unlink()

    def refused(self, command: str, printed: str) -> None:
        """It has failed, says why, and nothing is there."""
        ended = self.device(command)
        answer = [_FAILED.sub(r"\1", text) for text in (printed, ended.stdout + ended.stderr)]
        self.assertEqual((1, answer[0]), (ended.returncode, answer[1]), command)
        images = self.directory / "images"
        self.assertEqual([".incoming"], [path.name for path in images.iterdir()])


class SetUpTests(SetUpTestCase):
    """Three set-ups to copy."""

    def test_network(self) -> None:
        """A list of AE titles and networks lets in who is in it."""
        self.follow("A network that is looked after")

    def test_certificates(self) -> None:
        """A certificate for each device; and the audit log has the fields that the page shows, in their order."""
        self.follow("TLS with a certificate for each device")
        examples = [json.loads(block.content) for block in blocks("The audit log") if block.content.startswith("{")]
        shown = {example["event"]: list(example) for example in examples}
        self.assertEqual({"association", "rejection", "refusal"}, set(shown))
        written = [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]
        self.assertEqual(
            ["association", "association", "rejection", "refusal", "refusal"], [event["event"] for event in written]
        )
        self.assertEqual([shown[event["event"]] for event in written], [list(event) for event in written])

    def test_users(self) -> None:
        """Users with passcodes, and with tokens, on the server's certificate of the set-up before."""
        needed = ["Once: the authority", "File server.ext", "Once: key and certificate of the server"]
        before = [block for block in blocks("TLS with a certificate for each device") if block.caption in needed]
        self.assertEqual(needed, [block.caption for block in before])
        for block in before:
            self.prepare(block)
        self.follow("TLS with users")


class PageTests(ServerTestCase):
    """What else the page prints."""

    def test_warning(self) -> None:
        """Without options, where others can reach it, the server says first that everybody may store."""
        server = Server("0", directory=str(self.directory))
        self.addCleanup(server.kill)
        (line,) = re.findall(r"(?m)^    (W: Whoever .*\n)", PAGE)
        self.assertEqual((0, line), (server.stop().code, server.stderr))

    def test_list(self) -> None:
        """The example of a list is one."""
        (block,) = blocks("The list")
        path = self.directory / "allow"
        path.write_text(block.content)
        access = Access(Config(allow_file=str(path)), portal=Portal(Realm()))
        self.assertEqual(["CT1", "CT1", "CT ROOM 2", "US#4", "*"], [entry.ae_title for entry in access.list.entries])

    def test_reload(self) -> None:
        """A list that cannot be used is told in the line that is shown; one that can be, with -v, in the other."""
        bad, good = re.findall(r"E: allow, line 3: .*|I: All files were read again", section("Changes while it runs"))
        path = self.directory / "allow"
        path.write_text("CT1\n")
        server = self.serve(LOOPBACK, "-v", "--allow-file", "allow")
        for content, line in (("\nCT1\nMR1 netwrok=10.1.2.0/24\n", bad), ("CT1\n", good)):
            path.write_text(content)
            server.signal(signal.SIGHUP)
            wait_until(lambda line=line: f"{line}\n" in server.stderr, line)  # type: ignore[misc]
        self.assertEqual((0, [bad, good]), (server.stop().code, server.stderr.splitlines()))

    def test_profiles(self) -> None:
        """The table has the suites of each profile, in their order."""
        rows = section("TLS").split("   * - ``bcp195")[1:]
        shown = [re.findall(r"\| (\S+)$", row, re.MULTILINE) for row in rows]
        self.assertEqual([[*each.tls_1_2, *each.tls_1_3] for each in PROFILES.values()], shown)

    def test_own_observer(self) -> None:
        """The program gives an event to syslog, here one that prints."""
        (code,) = (block.content for block in blocks("The audit log") if block.content.startswith("import"))
        (self.directory / "allow").write_text("CT1\n")
        code += "syslog.syslog = lambda priority, text: print(text)\n"
        code += "observer.connection_refused('10.1.2.17:49152', 'it is none')\n"
        ended = self.run_program("-c", code, command=(sys.executable,)).ended()
        event = json.loads(ended.stdout)
        self.assertEqual((0, "refusal", "it is none"), (ended.code, event["event"], event["cause"]))

    def test_own_factory(self) -> None:
        """What docs/embedding.rst does makes a factory of which an association must have a user."""
        page = (ROOT / "docs" / "embedding.rst").read_text()
        (code,) = re.findall(r"::\n\n((?:    .*\n|\n)+    def guarded(?:.*\n)(?:    .*\n)+)", page)
        (self.directory / "users").write_text("alice:no-passcode\n")
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        (self.directory / "issuer.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        namespace: dict[str, Any] = {}
        for name in ("users", "issuer.pem"):
            code = code.replace(f'"{name}"', repr(str(self.directory / name)))
        exec(compile(re.sub("(?m)^    ", "", code), "embedding.rst", "exec"), namespace)
        clock = Clock()
        factory = namespace["guarded"](Config(), clock, maybeDeferred)
        factory.doStart()
        identity = UserIdentityRQ(1, 0, b"alice")
        answers = [SCU(factory, clock, associate_rq(user_items=items)).answer for items in ((), (identity,))]
        self.assertEqual((AAssociateRJ(1, 2, 1), AAssociateAC), (answers[0], type(answers[1])))
