"""content, each_line: of a file that says who may come in, which may be read again while others are served."""

import codecs
import os
import stat
from collections.abc import Callable

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


def each_line(path: str, take: Callable[[int, bytes], None]) -> None:
    """Give each line of a text file in UTF-8, with its number, to `take`; without the mark that some editors put first.

    Raises `CannotStart`, with the number where `take` has raised a ValueError.
    """
    for number, line in enumerate(content(path).removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        try:
            take(number, line)
        except ValueError as error:
            raise CannotStart(f"{path}, line {number}: {error}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
