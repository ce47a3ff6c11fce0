"""A program that floods a server on this machine: ``python -m tests.hostile.flooder PORT KIND``.

It opens as many associations as one host may have, says so, and sends on all of them as fast as they are read, for
half a minute at most.
"""

import contextlib
import selectors
import socket
import struct
import sys
import time

from tests.hostile import ASSOCIATE_RQ, ECHO_RQ, HOSTS

ASSOCIATIONS = 64
SECONDS = 30.0

# An operation that nobody knows, message 1, on the context of echoes: short, and answered.
_UNKNOWN = bytes.fromhex("0000 0001 02000000 3412  0000 1001 02000000 0100  0000 0008 02000000 0101")
_VALUE = struct.pack(">IBB", len(_UNKNOWN) + 2, 3, 3) + _UNKNOWN


def _p_data_tf(body: bytes) -> bytes:
    return struct.pack(">BxI", 0x04, len(body)) + body


FLOODS = {
    "echoes": ECHO_RQ * 1000,
    "packed": _p_data_tf(_VALUE * (16384 // len(_VALUE))) * 10,
    "empty": _p_data_tf(struct.pack(">IBB", 2, 3, 1)) * 10000,  # fragments of a command that never comes
}


def associate(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), source_address=(HOSTS[1], 0))
    peer.sendall(ASSOCIATE_RQ)
    assert peer.recv(4096)[:1] == b"\x02"
    peer.setblocking(False)
    return peer


def flood(port: int, data: bytes) -> None:
    ends = time.monotonic() + SECONDS
    selector = selectors.DefaultSelector()
    left: dict[object, memoryview] = {}  # of `data`, by peer
    for _ in range(ASSOCIATIONS):
        peer = associate(port)
        selector.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE, peer)
        left[peer] = memoryview(data)
    print("flooding", flush=True)
    while time.monotonic() < ends:
        for key, events in selector.select(1.0):
            peer = key.data
            if events & selectors.EVENT_READ and not peer.recv(65536):
                return  # the server has ended
            if events & selectors.EVENT_WRITE:
                left[peer] = left[peer][peer.send(left[peer]) :] or memoryview(data)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        flood(int(sys.argv[1]), FLOODS[sys.argv[2]])
