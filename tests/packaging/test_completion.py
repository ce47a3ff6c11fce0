"""The completions are those of the options that there are, and the shells understand them."""

import importlib.util
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.program import make_directory
from tests.servers import ROOT

COMPLETION = ROOT / "contrib" / "completion"

PROMPT = "ready> "

# What a user types, and the words that the program is given; a tab is the key, and there is one way to go on.
TYPED = {
    "--dur\t full": "[--durability] [full]",
    "--durability fu\t": "[--durability] [full]",
    "--durability=n\t": "[--durability=none]",
    "-pd\t 16384": "[-pdu] [16384]",
    "-x=\t 104": "[-x=] [104]",
    "-x= --prefer-l\t": "[-x=] [--prefer-little]",
    "-od rec\tct": "[-od] [received/ct]",
    "--output-directory=rec\tct": "[--output-directory=received/ct]",
    "--allow-file recen\t": "[--allow-file] [recent list]",
    "11112 --ign\t": "[11112] [--ignore]",
}


def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", COMPLETION / "generate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"needs {name}")
    return path


class Terminal:
    """An interactive shell, of which only what it prints is seen."""

    def __init__(self, *command: str, directory: Path) -> None:
        self._master, slave = os.openpty()
        environment = {
            "PATH": os.defpath,
            "HOME": str(directory),
            "ZDOTDIR": str(directory),
            "TERM": "dumb",
            "LC_ALL": "C",
        }
        self._process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._printed = ""  # and not yet asked for

    def until(self, wanted: str, seconds: float = 30) -> str:
        """What it prints next, up to a match of `wanted` and with it. AssertionError where that does not come."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(wanted, self._printed)):
            ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"no {wanted!r} within {seconds:g} s: {self._printed!r}")
            self._printed += os.read(self._master, 4096).decode(errors="replace")
        found, self._printed = self._printed[: match.end()], self._printed[match.end() :]
        return found

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


class GeneratedTests(SynchronousTestCase):
    def test_up_to_date(self) -> None:
        """What is here is what the generator makes of the options; else run it."""
        expected = generator().generate()
        self.assertEqual(expected, {name: (COMPLETION / name).read_text(encoding="utf-8") for name in expected})


class BashTests(SynchronousTestCase):
    def assert_offered(self, offered: list[str], *words: str) -> None:
        """Behind `words`, of which the last is not yet complete, these are offered."""
        quoted = " ".join(f"'{word}'" for word in words)
        script = (
            f"source '{COMPLETION}/storescp.bash'; COMP_WORDS=(storescp {quoted}); COMP_CWORD={len(words)}; _storescp"
        )
        ended = subprocess.run(
            [shell("bash"), "--norc", "--noprofile", "-c", f'{script}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((offered, ""), (ended.stdout.split(), ended.stderr))

    def test_options(self) -> None:
        """Behind a dash all options that begin so."""
        self.assert_offered(["-x=", "-xe", "-xb", "-xi"], "-x")
        self.assert_offered(["--tls-cert", "--tls-key", "--tls-ca", "--tls-profile"], "-v", "11112", "--tls")

    def test_values(self) -> None:
        """All values of an option that has some to choose from, in a word of their own or behind an equals sign."""
        for words in (["--durability", ""], ["--durability", "="]):
            self.assert_offered(["full", "file", "none"], *words)
        self.assert_offered(["full", "file"], "--durability", "=", "f")

    def test_anything(self) -> None:
        """Nothing is offered where nobody knows what comes: a number, a port, what follows -x=."""
        for words in (["--grace", ""], ["11"], ["-x", "="]):
            self.assert_offered([], *words)

    def test_no_word(self) -> None:
        """Where a word begins that is no value, the options."""
        for words in ([""], ["-x", "=", ""], ["--durability", "full", ""]):
            with self.assertRaises(self.failureException):
                self.assert_offered([], *words)


class InteractiveTests(SynchronousTestCase):
    """The shells as their users meet them."""

    def setUp(self) -> None:
        self.directory = Path(make_directory(self))
        (self.directory / "received").mkdir()
        (self.directory / "recent list").touch()

    def assert_completed(self, typed: dict[str, str], start: str, *command: str) -> None:
        """With these lines to start with, a shell makes of what is typed what it should be."""
        show = "storescp() { printf '[%s] ' \"$@\" | sed 's/^/given: /; s/$/\\n/'; }"
        for name in (".bashrc", ".zshrc"):
            (self.directory / name).write_text(f"{start}\n{show}\nPS1='{PROMPT}'\n")
        terminal = Terminal(*command, directory=self.directory)
        self.addCleanup(terminal.close)
        completed = {}
        for text in typed:
            terminal.until(PROMPT)
            terminal.type(f"storescp {text}\n")
            printed = terminal.until(r"given: .*\r?\n")
            completed[text] = re.findall(r"given: (.*?) *\r?\n", printed)[-1]
        self.assertEqual(typed, completed)

    def test_bash(self) -> None:
        """bash completes options, their values, directories and files."""
        sourced = f"source '{COMPLETION}/storescp.bash'"
        self.assert_completed(TYPED, sourced, shell("bash"), "--noprofile", "--rcfile", ".bashrc", "-i")

    def test_zsh(self) -> None:
        """zsh does, with its completion from a directory of its path; a second tab takes the first of several."""
        found = f"fpath=('{COMPLETION}' $fpath)\nautoload -Uz compinit\ncompinit -u -d ./dump"
        self.assert_completed(TYPED | {"-x\t\t": "[-x=]"}, found, shell("zsh"), "-d", "-i")
