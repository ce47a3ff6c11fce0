"""content, lines: of a file that says who may come in, which may be read again while others are served."""

import codecs
import os
import stat

from storescp.errors import CannotStart


def content(path: str) -> bytes:
    """All of it. Raises `CannotStart`, also for what is no regular file: to open a pipe could take for ever."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror}") from None
    raise CannotStart(f"{path}: it is no regular file")


def lines(path: str) -> list[bytes]:
    """Those of a text file in UTF-8, without the mark that some editors put before it. Raises `CannotStart`."""
    return content(path).removeprefix(codecs.BOM_UTF8).splitlines()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
