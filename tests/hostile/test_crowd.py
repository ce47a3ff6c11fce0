"""Thousands of connections that are no good, and some between them that are."""

import itertools
import struct
from collections.abc import Callable

import attrs

from tests.hostile import ASSOCIATE_RQ, HOSTS, MIB, HostileTestCase, descriptors, kinds, memory
from tests.senders import ABORT_BY_USER, RELEASE_RQ, Sender, c_store, data_set_with, p_data_tf, send
from tests.servers import INCOMING, LOOPBACK, Server, wait_until

GOOD = 1600
BAD_FOR_EACH = 5  # open while the good one is served
# Growth in the second half, by quarters: what leaks does so in each, what the allocator takes at once in one of them.
# A quarter has 2,400 connections; if each leaves 1 KiB behind, that is 2.3 MiB.
PLATEAU = 7 * MIB // 4

INSTANCE = b"".join(c_store(data_set_with("1.2.3", bytes(900_000)), "1.2.3"))


LOST = "the connection was lost"


@attrs.frozen
class Bad:
    """What one sends, all at once, how it goes, and what the log says then."""

    sent: bytes
    end: Callable[[Sender], None]
    told: str = ""


def refused(sent: bytes, end: Callable[[Sender], None], cause: str) -> Bad:
    return Bad(sent, end, f"W: Connection from PEER ended without an association: {cause}")


def aborted(sent: bytes, end: Callable[[Sender], None], cause: str) -> Bad:
    return Bad(ASSOCIATE_RQ + sent, end, f"E: Association Aborted: {cause} (TESTSCU at PEER)")


BAD = (
    Bad(b"", Sender.close),
    Bad(b"", Sender.reset),
    refused(ASSOCIATE_RQ[:3], Sender.close, LOST),
    refused(ASSOCIATE_RQ[:-1], Sender.reset, LOST),
    refused(b"\xff" * 1000, Sender.close, "PDU type FFH is unknown"),
    refused(b"GET / HTTP/1.1\r\n\r\n", Sender.close, "PDU type 47H is unknown; it may be HTTP"),
    refused(bytes.fromhex("1603010200010001fc"), Sender.close, "PDU type 16H is unknown; it may be TLS"),
    refused(b"\x0bMSH|^~\\&|A|B\r\x1c\r", Sender.reset, "PDU type 0BH is unknown; it may be HL7"),
    refused(
        struct.pack(">BxI", 0x01, 0xFFFFFFFF) + bytes(1000),
        Sender.close,
        "PDU of type 01H claims 4294967295 bytes, more than 262144 (--max-associate-rq)",
    ),
    refused(
        ASSOCIATE_RQ.replace(bytes.fromhex("10000015"), bytes.fromhex("1000ffff")),
        Sender.close,
        "item 10H claims 65535 bytes of 143",
    ),
    Bad(ASSOCIATE_RQ + RELEASE_RQ, Sender.reset),
    aborted(ASSOCIATE_RQ, Sender.close, "unexpected A-ASSOCIATE-RQ PDU"),
    aborted(ABORT_BY_USER, Sender.close, "by the peer"),
    aborted(struct.pack(">BxIIBB", 0x04, 6, 0x7FFFFFFF, 1, 0), Sender.close, "a PDV claims 2147483647 bytes of 2"),
    aborted(p_data_tf(2, b"data without a command"), Sender.reset, "data without a command"),
    aborted(p_data_tf(3, bytes(1000)), Sender.close, "a command element (0000,0000) of 0 bytes cannot be here"),
    aborted(b"", Sender.reset, LOST),
    aborted(INSTANCE[: len(INSTANCE) // 2], Sender.reset, f"{LOST}; 1.2.3 was cut off"),  # it has a file
)


class CrowdTests(HostileTestCase):
    def test_crowd(self) -> None:
        """All good ones are served; in the end all descriptors are back, and memory has stopped growing long ago."""
        server = self.serve(LOOPBACK)
        base_line = descriptors(server)
        bad = itertools.cycle(BAD)
        grown: list[int] = []
        for number in range(GOOD):
            if number in (GOOD // 2, GOOD * 3 // 4):
                grown.append(memory(server))
            self.round([next(bad) for _ in range(BAD_FOR_EACH)], server, number)
        wait_until(lambda: descriptors(server) == base_line, "the end of all connections")
        first, second = grown
        self.assertLess(min(second - first, memory(server) - second), PLATEAU)
        self.assertEqual({each.told for each in BAD if each.told}, kinds(server.stderr))
        self.assertEqual(sorted([*INCOMING, *(f"CT.1.2.{n}" for n in range(0, GOOD, 10))]), self.left)

    def round(self, bad: list[Bad], server: Server, number: int) -> None:
        """A good one, while some bad ones are there."""
        peers = [self.peer(server, HOSTS[(number + each) % len(HOSTS)]) for each in range(len(bad))]
        for peer, each in zip(peers, bad, strict=True):
            peer.send(each.sent)
        if number % 10:
            self.assert_echoes(server, HOSTS[number % len(HOSTS)])
        else:
            send(server.address, data_set_with(f"1.2.{number}"), f"1.2.{number}")
        for peer, each in zip(peers, bad, strict=True):
            each.end(peer)
