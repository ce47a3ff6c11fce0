"""escape: text that somebody else chose, made safe to show."""

# C0, DEL and C1 could move the cursor or forge a line; separators and bidi controls show text as another.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_SEPARATORS_AND_BIDI = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SURROGATES = range(0xD800, 0xE000)  # no file may take them
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in (*_SEPARATORS_AND_BIDI, *_SURROGATES)},
}

LONGEST = 2000  # characters of a line: a name may have 64 KiB
_END = 500  # of them are the end, where what went wrong is said


def escape(text: str) -> str:
    """`text`, which may hold a peer's, as one line that shows what it is and does nothing."""
    return text.translate(_ESCAPES)


def shown(text: str) -> str:
    """`text` as the log and the page have it: escaped and short."""
    return escape(shorten(text))


def shorten(text: str) -> str:
    """`text` without its middle, where it is longer than `LONGEST`."""
    left_out = len(text) - LONGEST
    return f"{text[: LONGEST - _END]}[{left_out} more characters]{text[-_END:]}" if left_out > 0 else text
