"""Files of lines, for tests of what reads them."""

from twisted.trial.unittest import SynchronousTestCase


class LinesTestCase(SynchronousTestCase):
    path: str  # of the file that was written last

    def write(self, *lines: str | bytes) -> str:
        """The path of a new file of these lines."""
        self.path = self.mktemp()
        self.rewrite(*lines)
        return self.path

    def rewrite(self, *lines: str | bytes) -> None:
        with open(self.path, "wb") as file:
            file.writelines((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
