"""The order of the system calls behind one Success."""

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import attrs
from twisted.trial.unittest import SkipTest

from tests.senders import Sender, data_set_with
from tests.servers import LOOPBACK, SCRIPT, Server, ServerTestCase, wait_until

CALLS = (
    "open,openat,creat,mkdir,mkdirat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,syncfs,"
    "ftruncate,close,link,linkat,unlink,unlinkat,rename,renameat,renameat2,sendto,sendmsg"
)
FOLLOWED = ("-f", "--seccomp-bpf")  # all threads, which run at full speed between those calls
CREATED = "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0666"

WRITTEN = [f'openat(<.incoming>, "*.part", {CREATED})', "writev(<.incoming/*.part>)"]
SYNCED = ["fsync(<.incoming/*.part>)"]
PUBLISHED = [
    "close(<.incoming/*.part>)",
    'linkat(<.incoming>, "*.part", <.>, "CT.1.2.3", 0)',
    'unlinkat(<.incoming>, "*.part", 0)',
]
DIRECTORY_SYNCED = ['openat(<.>, ".", O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY)', "fsync(<.>)", "close(<.>)"]
ANSWERED = ["sendto(<TCP>)"]


@attrs.frozen
class Call:
    """A system call: who made it, what it was, and on which lines of the trace it began and was over."""

    thread: int
    text: str
    began: int
    over: int


def calls_in(trace: str, directory: Path) -> list[Call]:
    """Those on files below `directory` and on connections that a trace tells of, by their beginning."""
    calls: list[Call] = []
    unfinished: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(trace.splitlines()):
        thread, text = re.fullmatch(r"(\d+) +(.*)", line).groups()  # type: ignore[union-attr]
        if text.endswith(" <unfinished ...>"):
            unfinished[int(thread)] = number, text.removesuffix(" <unfinished ...>")
            continue
        began = number
        resumed = re.match(r"<\.\.\. \w+ resumed>", text)
        if resumed:
            began, beginning = unfinished.pop(int(thread))
            text = beginning + text[resumed.end() :]
        if str(directory) in text or text.startswith("send"):
            calls.append(Call(int(thread), plain(text, directory), began, number))
    return sorted(calls, key=lambda call: call.began)


def plain(text: str, directory: Path) -> str:
    """A call without what is another each time, or of no interest: descriptors, random names, content, results."""
    text = re.sub(r" += -?\d+.*$", "", text)
    text = re.sub(r"[0-9a-f]{32}(?=\.part)", "*", text.replace(f"{directory}/", "").replace(str(directory), "."))
    text = re.sub(r"\b\d+<(?:socket|TCP)[^>]*>", "<TCP>", text)
    text = re.sub(r"\b\d+(<[^>]*>)", r"\1", text)
    return re.sub(r"^((?:write|writev|sendto)\(<[^>]*>).*", r"\1)", text)


class OrderTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.received = self.directory / "received"
        self.received.mkdir()
        self.trace = self.directory / "trace"

    def traced(self, *arguments: str) -> Server:
        """A server whose system calls are written to a file by strace, which is not in its way otherwise."""
        strace = shutil.which("strace")
        if strace is None:
            raise SkipTest("there is no strace")
        tried = subprocess.run([strace, *FOLLOWED, "-o", "/dev/null", "true"], capture_output=True, check=False)
        if tried.returncode:
            raise SkipTest(f"strace may not trace here: {tried.stderr.decode().strip()}")
        command = (strace, "-D", *FOLLOWED, "-y", "-e", f"trace={CALLS}", "-o", str(self.trace), *SCRIPT)
        return self.serve(LOOPBACK, "-od", str(self.received), *arguments, command=command)

    def calls_of(self, server: Server, data_set: bytes) -> list[Call]:
        """What the storing of one instance took, from behind the A-ASSOCIATE-AC to the response."""
        sender = Sender(server.address)
        self.assertEqual(0x0000, sender.store(data_set, "1.2.3"))
        sender.release()
        self.assertEqual(0, server.stop().code)
        exited = f"{server.pid} +++ exited with 0 +++\n"
        wait_until(lambda: re.sub(" +", " ", self.trace.read_text()).endswith(exited), "the end of the trace")
        lines = [line for line in self.trace.read_text().splitlines(keepends=True) if "+++" not in line]
        calls = calls_in("".join(lines), self.received)
        first, second, _third = (number for number, call in enumerate(calls) if call.text == "sendto(<TCP>)")
        return calls[first + 1 : second + 1]

    def assert_order(self, expected: list[str], durability: str) -> None:
        server = self.traced("--durability", durability)
        calls = self.calls_of(server, data_set_with("1.2.3"))
        self.assertEqual(expected, [call.text for call in calls])
        for earlier, later in pairwise(calls):
            self.assertLess(earlier.over, later.began, f"{later.text} did not wait for {earlier.text}")
        by_the_reactor = [call.text for call in calls if call.thread == server.pid]
        self.assertEqual(expected if durability == "none" else ANSWERED, by_the_reactor)

    def test_full(self) -> None:
        """Success waits until the file, and then its name, are on the disk."""
        self.assert_order(WRITTEN + SYNCED + PUBLISHED + DIRECTORY_SYNCED + ANSWERED, "full")

    def test_file(self) -> None:
        """With --durability file it does not wait for the name."""
        self.assert_order(WRITTEN + SYNCED + PUBLISHED + ANSWERED, "file")

    def test_none(self) -> None:
        """With --durability none it waits for the system alone, in the same order, on the reactor's thread."""
        self.assert_order(WRITTEN + PUBLISHED + ANSWERED, "none")

    def test_large(self) -> None:
        """Of an instance that is written while it comes, the reactor's thread touches no file either."""
        server = self.traced()
        calls = self.calls_of(server, data_set_with("1.2.3", bytes(20_000_000)))
        self.assertEqual(ANSWERED, [call.text for call in calls if call.thread == server.pid])
        written = [call.text for call in calls if call.text.startswith(("writev", "fdatasync"))]
        self.assertEqual(2, written.count("fdatasync(<.incoming/*.part>)"))
        self.assertLess(30, len(written))
        self.assertEqual(
            SYNCED + PUBLISHED + DIRECTORY_SYNCED + ANSWERED,
            [call.text for call in calls if call.text not in (WRITTEN[0], *written)],
        )
