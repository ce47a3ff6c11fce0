"""content: what is read of a file, and what is none."""

import contextlib
import os
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storescp.errors import CannotStart
from storescp.server.files import content, each_line


class ContentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def fault(self, path: str) -> str:
        """Why it cannot be read, where FILE stands for its path."""
        error = str(self.assertRaises(CannotStart, content, path))
        self.assertTrue(error.startswith(f"{path}: "), error)
        return error.replace(path, "FILE", 1)

    def test_content(self) -> None:
        """All of a regular file, whatever is in it, and whether it is found by a link."""
        for written in (b"", b"\0", b"a\r\nb\n\xff", bytes(3_000_000)):
            with open(self.path, "wb") as file:
                file.write(written)
            self.assertEqual(written, content(self.path))
        link = f"{self.path}.link"
        os.symlink(os.path.abspath(self.path), link)
        self.assertEqual(written, content(link))

    def test_missing(self) -> None:
        """What is not there, or cannot be reached."""
        self.assertEqual("FILE: No such file or directory", self.fault(self.path))
        self.assertEqual("FILE: No such file or directory", self.fault(""))
        with open(self.path, "wb"):
            pass
        self.assertEqual("FILE: Not a directory", self.fault(f"{self.path}/below"))

    def test_directory(self) -> None:
        self.assertEqual("FILE: Is a directory", self.fault(os.curdir))

    def test_pipe(self) -> None:
        """A pipe is not waited for, whether somebody writes to it or not."""
        os.mkfifo(self.path)
        self.assertEqual("FILE: it is no regular file", self.fault(self.path))
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        writer = os.open(self.path, os.O_WRONLY)
        self.addCleanup(os.close, writer)
        os.write(writer, b"CT1\n")
        self.assertEqual("FILE: it is no regular file", self.fault(self.path))

    def test_device(self) -> None:
        """Nor is a device one, which might never end."""
        for path in ("/dev/null", "/dev/zero"):
            self.assertEqual("FILE: it is no regular file", self.fault(path))

    def test_closed(self) -> None:
        """Nothing is left open, also of what is none."""
        descriptors = Path("/proc/self/fd")
        if not descriptors.exists():
            raise SkipTest("the system does not tell")
        with open(self.path, "wb"):
            pass
        pipe = f"{self.path}.pipe"
        os.mkfifo(pipe)
        before = os.listdir(descriptors)
        for path in (self.path, pipe, "/dev/null", f"{self.path}.missing", os.curdir):
            with contextlib.suppress(CannotStart):
                content(path)
            self.assertEqual(before, os.listdir(descriptors), path)

    def test_not_permitted(self) -> None:
        """What must not be read."""
        with open(self.path, "wb"):
            pass
        os.chmod(self.path, 0)
        if os.access(self.path, os.R_OK):
            raise SkipTest("root may read everything")
        self.assertEqual("FILE: Permission denied", self.fault(self.path))


class LinesTests(SynchronousTestCase):
    """The lines of a text."""

    def check(self, expected: list[bytes], text: bytes) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(text)
        taken: list[tuple[int, bytes]] = []
        each_line(path, lambda number, line: taken.append((number, line)))
        self.assertEqual(list(enumerate(expected, 1)), taken)

    def test_ends(self) -> None:
        """They end as any system ends them; the last one need not end."""
        self.check([b"a", b"b", b"", b"c"], b"a\nb\r\n\nc")

    def test_fault(self) -> None:
        """What is wrong with a line is told with its number; those after it are not looked at."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"1\n2\nthree\n4\n")
        taken: list[int] = []
        error = self.assertRaises(CannotStart, each_line, path, lambda _, line: taken.append(int(line)))
        fault = "invalid literal for int() with base 10: b'three'"
        self.assertEqual(([1, 2], f"{path}, line 3: {fault}"), (taken, str(error)))

    def test_mark(self) -> None:
        """The mark that some editors put before a text in UTF-8 is no part of it; within it, it is."""
        self.check([b"a", b"\xef\xbb\xbfb"], b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
