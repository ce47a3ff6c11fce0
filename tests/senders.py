"""A peer that knows just enough to send CT images, its bytes typed by hand: the other end of `tests.servers`."""

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

UID = "1.2.3.4.5.6"
FRAGMENT = 16378  # bytes: with the PDV's head just a PDU of the default maximum length
META_LENGTH_END = 144  # of a file: preamble, DICM, and (0002,0000) with its value

Address = tuple[str, int] | str  # the latter is a socket of the file system


def _even(uid: str) -> bytes:
    return uid.encode("ascii") + b"\0" * (len(uid) % 2)


def data_set_with(uid: str, pixels: bytes = b"") -> bytes:
    """A data set in Explicit VR Little Endian: what it is and, if there are any, an even number of bytes of pixels."""
    return (
        bytes.fromhex("0800 1600 5549 1a00")  # (0008,0016) UI
        + b"1.2.840.10008.5.1.4.1.1.2\0"
        + bytes.fromhex("0800 1800 5549")  # (0008,0018) UI
        + struct.pack("<H", len(_even(uid)))
        + _even(uid)
        + (bytes.fromhex("e07f 1000 4f57 0000") + struct.pack("<I", len(pixels)) + pixels if pixels else b"")
    )


DATA_SET = data_set_with(UID)


def item(item_type: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE, or a sub-item."""
    return struct.pack(">BxH", item_type, len(body)) + body


ASSOCIATE_HEAD = bytes.fromhex("0001 0000") + b"STORESCP        TESTSCU         " + bytes(32)
CT_CONTEXT = item(
    0x20, bytes.fromhex("01 00 00 00") + item(0x30, b"1.2.840.10008.5.1.4.1.1.2") + item(0x40, b"1.2.840.10008.1.2.1")
)


def associate_rq(*contexts: bytes) -> bytes:
    """A request for an association with these presentation contexts."""
    name = item(0x10, b"1.2.840.10008.3.1.1.1")
    body = b"".join([ASSOCIATE_HEAD, name, *contexts, item(0x50, item(0x51, bytes.fromhex("00004000")))])
    return struct.pack(">BxI", 0x01, len(body)) + body


ASSOCIATE_RQ = associate_rq(CT_CONTEXT)
REJECTED_FOR_NOW = bytes.fromhex("03 00 00000004 00 02 03 01")  # transient, by the presentation: congestion
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")
RELEASE_RP = bytes.fromhex("06 00 00000004 00000000")
ABORT_BY_USER = bytes.fromhex("07 00 00000004 0000 00 00")

_STATUS = re.compile(bytes.fromhex("0000 0009 02000000") + b"(..)", re.DOTALL)  # (0000,0900) US


def command(uid: str = UID) -> bytes:
    """C-STORE-RQ, message 1, priority medium, of the CT Image Storage instance `uid`."""
    elements = (
        bytes.fromhex("0000 0200 1a000000")
        + b"1.2.840.10008.5.1.4.1.1.2\0"
        + bytes.fromhex(
            "0000 0001 02000000 0100  0000 1001 02000000 0100  0000 0007 02000000 0000  0000 0008 02000000 0000"
            "0000 0010"
        )
        + struct.pack("<I", len(_even(uid)))
        + _even(uid)
    )
    return bytes.fromhex("0000 0000 04000000") + struct.pack("<I", len(elements)) + elements


def p_data_tf(control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one PDV of context 1."""
    return struct.pack(">BxIIBB", 0x04, len(fragment) + 6, len(fragment) + 2, 1, control) + fragment


def c_store(data_set: bytes = DATA_SET, uid: str = UID, fragment: int = FRAGMENT) -> list[bytes]:
    """The PDUs of a C-STORE request, `fragment` bytes of the data set in each."""
    return list(
        c_store_of([data_set[start : start + fragment] for start in range(0, len(data_set), fragment)] or [b""], uid)
    )


def c_store_of(fragments: Sequence[bytes], uid: str = UID) -> Iterator[bytes]:
    yield p_data_tf(3, command(uid))
    for fragment in fragments[:-1]:
        yield p_data_tf(0, fragment)
    yield p_data_tf(2, fragments[-1])


class NotAccepted(Exception):
    """No association; `answer` is the PDU that said so, or nothing where the connection was closed."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer.hex())
        self.answer = answer


class Sender:
    """One association. `NotAccepted` is raised where there is none."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        try:
            self._socket.settimeout(30)
            self._socket.connect(address)
            self.send(ASSOCIATE_RQ)
            answer = self.receive()
            if answer[:1] != b"\x02":
                raise NotAccepted(answer)
        except BaseException:
            self.close()
            raise

    def send(self, *pdus: bytes) -> None:
        for pdu in pdus:
            self._socket.sendall(pdu)

    def receive(self) -> bytes:
        """The next PDU, or nothing where the connection is closed."""
        header = self.receive_bytes(6)
        return header + self.receive_bytes(int.from_bytes(header[2:6], "big"))

    def receive_bytes(self, size: int) -> bytes:
        """So many bytes, or as many as come before the end."""
        received = b""
        while len(received) < size and (chunk := self._socket.recv(size - len(received))):
            received += chunk
        return received

    def status(self) -> int:
        """The status of the response that comes next. ConnectionError where something else, or nothing, comes."""
        answer = self.receive()
        status = _STATUS.search(answer)
        if status is None:
            raise ConnectionError(f"no response, but {answer.hex() or 'the end'}")
        return int.from_bytes(status[1], "little")

    def store(self, data_set: bytes = DATA_SET, uid: str = UID, fragment: int = FRAGMENT) -> int:
        """Send one instance; the status it is answered with."""
        self.send(*c_store(data_set, uid, fragment))
        return self.status()

    def release(self) -> None:
        self.send(RELEASE_RQ)
        answer = self.receive()
        assert answer == RELEASE_RP, answer.hex()
        self.close()

    def abort(self) -> None:
        """End it with an A-ABORT."""
        self.send(ABORT_BY_USER)
        self.close()

    def reset(self) -> None:
        """End it with a TCP RST, as a crash does: what is on its way may be lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._socket.close()


def send(address: Address, data_set: bytes = DATA_SET, uid: str = UID) -> None:
    """One association with one instance, which must be answered with Success."""
    sender = Sender(address)
    status = sender.store(data_set, uid)
    assert status == 0x0000, f"{status:04X}H"
    sender.release()


def data_set_of(path: Path) -> bytes:
    """What follows the File Meta Information of a file."""
    content = path.read_bytes()
    return content[META_LENGTH_END + int.from_bytes(content[140:144], "little") :]
