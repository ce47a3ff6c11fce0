"""print_lines: what a program prints instead of serving."""

import os
import sys
from collections.abc import Iterable

from storescp.errors import CannotStart
from storescp.watch.escaping import escape


def print_lines(lines: Iterable[str]) -> None:
    """Raises `CannotStart` where that cannot be written."""
    if sys.stdout is None:
        raise CannotStart("standard output: it is closed")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for line in lines:
            print(escape(line).encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # Or Python would find it out again at its end. Of a pipe it means that whoever reads has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise CannotStart(f"standard output: {error.strerror}") from None
