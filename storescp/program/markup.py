"""reStructuredText, as much of it as a conformance statement needs: paragraphs, tables, and what is neither."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from storescp.watch.escaping import escape

_WIDTH = 60  # characters of a cell, but of the first in its row, which has what it needs
_LINE = 120  # characters of a line of prose

_SPECIAL = re.compile(r"([^A-Za-z0-9\s])")


def literal(text: str) -> str:
    """What somebody has chosen, as text of reStructuredText that is nothing else."""
    text = escape(text).strip()
    return f"``{text}``" if text and "`" not in text else _SPECIAL.sub(r"\\\1", text)


def paragraph(*sentences: str) -> str:
    return textwrap.fill(" ".join(filter(None, sentences)), _LINE, break_long_words=False, break_on_hyphens=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of reStructuredText, with long cells on several lines; none is empty."""
    cells = [[[first], *map(_wrapped, others)] for first, *others in (header, *rows)]
    widths = [max(len(line) for row in cells for line in row[column]) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    head, *body = (line for row in cells for line in _lines(row, widths))
    return "\n".join([rule, head, rule, *body, rule])


def _wrapped(cell: str) -> list[str]:
    return textwrap.wrap(cell, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for number in range(max(map(len, row))):
        line = (cell[number] if number < len(cell) else "" for cell in row)
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
