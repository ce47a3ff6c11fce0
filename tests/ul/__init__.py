"""What the tests of PS3.8 share: bytes typed by hand, and what a decoder makes of them."""

from collections.abc import Callable

from storescp.errors import InvalidPDU


def wire(*parts: str | bytes) -> bytes:
    """The parts one after the other: str is hexadecimal digits, bytes stand for themselves."""
    return b"".join(bytes.fromhex(part) if isinstance(part, str) else part for part in parts)


def outcome(decode: Callable[[memoryview], object], body: bytes) -> object:
    """What `decode` returns, or the AbortReason of the InvalidPDU it raises."""
    try:
        return decode(memoryview(body))
    except InvalidPDU as error:
        return error.reason
