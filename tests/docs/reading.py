"""Does what a page says, block by block, as their captions name them: CONTRIBUTING.rst has the words.

Nothing is changed in what is run but where it listens and sends to: each port becomes a free one,
``archive.example.org`` this machine, and what a page's class says besides. An address in what is printed stands for
any; how storescu says that its connection has failed, too.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest

from tests.docs.pages import Block, Page
from tests.interop import CT_SMALL
from tests.servers import ROOT, Program, ServerTestCase, free_port, wait_until

RUN = ("sh", "python")  # the languages of what a reader runs
SECONDS = 300  # for a command; some install what they need

_PORTS = ("11112", "11113", "2762", "8080")
_PORT = re.compile(rf"\b(?:{'|'.join(_PORTS)})\b")
_ADDRESS = re.compile(r"(?:10\.1\.2\.\d+|127\.0\.0\.\d+):\d+")
_FAILED = re.compile(r"(?m)^(F: Association Request Failed:) \S.*$")
_LISTENING = "0A"  # in /proc/net/tcp

# What a reader has on his PATH: the programs of the environment in which storescp is installed.
_PYTHON = f'PYTHONPATH="{ROOT}" exec "{sys.executable}"'
_PROGRAMS = {
    "storescp": f'{_PYTHON} -m storescp "$@"',
    "twistd": f'{_PYTHON} -c "from twisted.scripts.twistd import run; run()" "$@"',
    "python3": f'{_PYTHON} "$@"',
}
# Of who has yet to install it: a Python of the version with which the tests are run.
_BARE_PROGRAMS = {"python3": f'exec "{getattr(sys, "_base_executable", sys.executable)}" "$@"'}

# Where the reader of a page may write, and its test may not.
_ELSEWHERE = re.compile(r"(?<![\w.$/-])/(?:etc|home|lib|opt|root|srv|usr(?!/s?bin/)|var)\b")


def is_listening(port: str) -> bool:
    """Whether somebody does, found out without a connection that he would tell of."""
    tables = (Path("/proc/net", name) for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return any(row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == int(port) for row in rows)


def is_ready(server: Program, *ports: str) -> bool:
    """Whether it listens on all of them, and a signal would be its reactor's: some listen before that runs."""
    (caught,) = re.findall(r"SigCgt:\s+(\w+)", Path(f"/proc/{server.pid}/status").read_text())
    return all(map(is_listening, ports)) and bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def comparable(printed: str) -> list[str]:
    """What was printed, or is said to be, without what differs from one time to the next."""
    return _FAILED.sub(r"\1", _ADDRESS.sub("PEER", printed)).splitlines()


class ReadingTestCase(ServerTestCase):
    """A reader in a directory with an image, ``image.dcm``, who runs one server at a time."""

    replaced: ClassVar[Mapping[str, str]] = {}  # in what is run and printed; $directory is the one of the test
    installs: ClassVar[bool] = False  # whether storescp is not there before the page says how to install it

    def setUp(self) -> None:
        super().setUp()
        shutil.copy(CT_SMALL, self.directory / "image.dcm")
        self.bin = self.directory / "bin"
        self.bin.mkdir()
        for name, text in (_BARE_PROGRAMS if self.installs else _PROGRAMS).items():
            self.add_program(name, text)
        # pynetdicom installs a storescu beside our Python.
        beside = str(Path(sys.executable).parent)
        self.path = os.pathsep.join([str(self.bin), *(each for each in os.get_exec_path() if each != beside)])
        self.ports = {port: str(free_port()) for port in _PORTS}
        self.server: Program | None = None
        self.told: list[str] | None = None  # what the server is said to print; None where that is not compared
        self.spoken_to = False  # whether something was run while it was there
        self.printed = ""  # by the last command
        self.needs("bash")

    def add_program(self, name: str, text: str) -> None:
        """Put a shell script on the reader's PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def needs(self, *programs: str) -> None:
        for name in programs:
            if shutil.which(name, path=self.path) is None:
                raise SkipTest(f"{name} is not installed")

    def follow(self, blocks: Iterable[Block]) -> None:
        """Do all that they say, in their order."""
        blocks = list(blocks)
        refused = False
        for block in blocks:
            self.assertTrue(not refused or block.caption == "It prints", f"what is printed is missing: {block}")
            refused = block.caption.startswith("A device is refused")
            self._do(block, int(refused))
            self.done(block)
        self.assertFalse(refused, f"what is printed is missing: {blocks[-1:]}")
        self.stop()

    def done(self, block: Block) -> None:
        """What a class has to look at when a block has been done, that the page does not show."""

    def _do(self, block: Block, code: int) -> None:
        content = self.here(block.content)
        if block.language == "sh":
            self.assertNotRegex(content.replace(str(self.directory), "."), _ELSEWHERE)
        if block.file is not None:
            path = self.directory / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        elif block.caption == "It prints":
            self.assertEqual(comparable(content), comparable(self.printed))
        elif block.caption == "The server prints":
            self.assertIsNot(self.told, None, "what twistd prints is not compared")
            self.told = [*(self.told or ()), *comparable(content)]
        elif block.language in RUN and block.caption.startswith("The server"):
            self.stop()
            self._start(content)
        elif block.language in RUN:
            ended, self.printed = self._run_block(block.language, content)
            self.assertEqual(code, ended, f"{block.page}, {block.section!r}:\n{content}{self.printed}")

    def here(self, content: str) -> str:
        """What the block is on this machine."""
        meant = {"archive.example.org": "localhost", **self.replaced}
        said = re.compile("|".join(map(re.escape, meant)))
        content = said.sub(lambda match: meant[match[0]].replace("$directory", str(self.directory)), content)
        return _PORT.sub(lambda match: self.ports[match[0]], content)

    def _run_block(self, language: str, content: str) -> tuple[int, str]:
        """Its exit code, and what it has printed."""
        command = self._bash(content) if language == "sh" else (sys.executable, "-c", content)
        self.spoken_to = True
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that all of it can be ended
        )
        try:
            printed, _ = process.communicate("secret\n", SECONDS)  # for who asks for a passcode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            raise AssertionError(f"not within {SECONDS} s: {content}{printed}") from None
        return process.returncode, printed

    def _bash(self, commands: str) -> tuple[str, ...]:
        """A shell in the reader's environment; DCMTK's programs are slow without TCP_NODELAY."""
        own = f"unset PYTHONPATH\nexport PATH='{self.path}' TCP_NODELAY=1"
        return "bash", "-e", "-o", "pipefail", "-c", f"{own}\n{commands}"

    def _start(self, commands: str) -> None:
        """Run what ends with a server, until that listens."""
        *before, last = commands.rstrip("\n").replace("\\\n", "").splitlines()
        *first, server = last.split(" && ")  # the shell is replaced by it, so that it gets the signals
        command = self._bash("\n".join([*before, " && ".join([*first, f"exec {server}"])]))
        ports = self._named(last) or [self.ports["11112"]]
        self.server = started = Program(directory=str(self.directory), command=command)
        self.addCleanup(started.kill)
        self.told = None if "twistd" in last else []
        self.spoken_to = False
        wait_until(lambda: not started.running or is_ready(started, *ports), f"that it listens: {last}", SECONDS)
        self.assertTrue(started.running, f"{last}\n{started.stdout}{started.stderr}")

    def _named(self, command: str) -> list[str]:
        """The ports that it names, or its configuration file."""
        files = [self.directory / word for word in command.split() if word.endswith(".toml")]
        said = " ".join([command, *(path.read_text() for path in files)])
        return [port for port in self.ports.values() if re.search(rf"\b{port}\b", said)]

    def stop(self) -> None:
        """End the server, if there is one, and see that it has printed what the page has, and nothing else."""
        if self.server is None:
            return
        server, told = self.server, self.told
        self.server = None
        self.assertTrue(told is not None or self.spoken_to, "under twistd it may not yet be there for a signal")
        if told is not None:
            wait_until(lambda: server.stderr.count("\n") >= len(told), f"what the server prints: {told}")
        server.signal(signal.SIGTERM)
        ended = server.ended()
        self.assertEqual(0, ended.code, ended.stderr)
        if told is not None:
            self.assertEqual(told, comparable(ended.stderr))


class PageTestCase(ReadingTestCase):
    """A page with one test for each section that has something to run, and for those that are read `together`.

    Where it is a `walk`, that is all of it.
    """

    page: ClassVar[Page]
    walk: ClassVar[bool] = False
    together: ClassVar[Sequence[Sequence[str]]] = ()  # the titles of sections, each of which needs what was done before

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not hasattr(cls, "page"):
            return
        missing = [said for said in cls.replaced if said not in cls.page.text]
        if missing:
            raise ValueError(f"{cls.page.path} does not have {missing}")
        blocks = cls.page.blocks()
        together = [[block.section for block in blocks]] if cls.walk else cls.together
        known = {title for titles in together for title in titles}
        alone = [[block.section] for block in blocks if block.language in RUN and block.section not in known]
        for titles in (*together, *alone):
            name = re.sub(r"\W+", "_", titles[0]).lower()
            setattr(cls, f"test_{name}", _following(list(dict.fromkeys(titles))))


def _following(titles: Sequence[str]) -> Any:
    def test(self: PageTestCase) -> None:
        found = [self.page.blocks(title) for title in titles]
        self.assertTrue(all(found), f"of these some have no block, or are not there: {titles}")
        self.follow(itertools.chain.from_iterable(found))

    test.__doc__ = f"What it says works: {', '.join(titles)}."
    return test
