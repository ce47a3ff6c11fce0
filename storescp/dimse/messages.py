"""Messages out of PDVs and into them, PS3.7 6.3 and PS3.8 Annex E."""

from typing import Protocol

from storescp.dimse.commands import NO_DATA_SET, Elements, read_elements, read_us
from storescp.errors import Excess, InvalidMessage
from storescp.ul.negotiation import SMALLEST_MAXIMUM_LENGTH
from storescp.ul.pdu import PDataTF

_COMMAND_DATA_SET_TYPE = 0x0800
_COMMAND, _LAST = PDataTF.COMMAND, PDataTF.LAST


class MessageReceiver(Protocol):
    """Who is told what a `MessageReader` reads."""

    def command_received(self, context_id: int, elements: Elements, has_data_set: bool) -> None:
        """A whole command set; `fragment_received` follows where `has_data_set`."""

    def fragment_received(self, fragment: memoryview, last: bool) -> None:
        """A fragment of the data set of the latest command. It stays valid for as long as it is kept."""


class MessageReader:
    """Puts the fragments of one association together to messages, whatever way they were cut.

    Of a message only the command set is kept; the fragments of its data set are passed on as they come.
    """

    def __init__(self, receiver: MessageReceiver, longest_command: int) -> None:
        self._receiver = receiver
        self._longest_command = longest_command  # bytes
        self._command = bytearray()
        self._context_id: int | None = None  # of the message that has begun
        self._in_data_set = False

    @property
    def within_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._context_id is not None

    def read(self, body: memoryview) -> memoryview | None:
        """Take the first PDV of the body of a P-DATA-TF; what is left of it, as there may be many messages in it.

        Raises `InvalidPDU` for a bad PDV, `InvalidMessage` for a fragment out of place and for a command
        set that cannot be read.
        """
        context_id, control, fragment, rest = PDataTF.split(body)
        if self._context_id is None:
            self._context_id = context_id
        elif self._context_id != context_id:
            raise InvalidMessage(f"a fragment on context {context_id} in a message on {self._context_id}")
        last = control & _LAST != 0
        if control & _COMMAND:
            self._read_command(context_id, fragment, last)
        elif not self._in_data_set:
            raise InvalidMessage("data without a command")
        else:
            if last:
                self._in_data_set = False
                self._context_id = None
            self._receiver.fragment_received(fragment, last)
        return rest

    def _read_command(self, context_id: int, fragment: memoryview, last: bool) -> None:
        if self._in_data_set:
            raise InvalidMessage("a command fragment inside a data set")
        if len(self._command) + len(fragment) > self._longest_command:
            raise InvalidMessage(Excess("max_command_set", f"a command set of more than {self._longest_command} bytes"))
        self._command += fragment
        if not last:
            return
        command, self._command = self._command, bytearray()
        elements = read_elements(command)
        self._in_data_set = read_us(elements, _COMMAND_DATA_SET_TYPE) != NO_DATA_SET
        if not self._in_data_set:
            self._context_id = None
        self._receiver.command_received(context_id, elements, self._in_data_set)


def encode_message(context_id: int, command: bytes, data_set: bytes | None, maximum_length: int) -> bytes:
    """The P-DATA-TF PDUs of one message, one PDV each, none with a body over `maximum_length`; 0 means any.

    ValueError for a maximum that leaves no room, which negotiation refuses.
    """
    if 0 < maximum_length < SMALLEST_MAXIMUM_LENGTH:
        raise ValueError(f"a maximum length of {maximum_length} leaves no room for a fragment")
    pdus = _fragments(context_id, PDataTF.COMMAND, command, maximum_length)
    if data_set is not None:
        pdus += _fragments(context_id, 0, data_set, maximum_length)
    return b"".join(pdus)


def _fragments(context_id: int, control: int, whole: bytes, maximum_length: int) -> list[bytes]:
    # Even, as PS3.8 Annex E wants of a fragment.
    size = (maximum_length - PDataTF.OVERHEAD) & ~1 if maximum_length else max(len(whole), 1)
    view = memoryview(whole)
    starts = range(0, max(len(whole), 1), size)
    last = starts[-1]
    return [
        PDataTF.encode([(context_id, control | (PDataTF.LAST if start == last else 0), view[start : start + size])])
        for start in starts
    ]
