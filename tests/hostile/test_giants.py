"""Things of 100 MiB that nobody wants: none of them is kept in memory."""

import struct

from tests.hostile import ECHO_RSP, MIB, HostileTestCase, Peer, memory
from tests.senders import ASSOCIATE_HEAD, UID, c_store_of, data_set_of, data_set_with, item, p_data_tf, send
from tests.servers import INCOMING, LOOPBACK, Server

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700

GIANT = 100 * MIB
CHUNK = 64 * 1024
MOST = 8 * MIB  # of memory for 100 MiB that were sent: the contract's

# Both are A-ABORTs: in Sta2 and for nonsense of DIMSE by the service user, else by the provider.
ABORTED = bytes.fromhex("07 00 00000004 0000 00 00")
INVALID_VALUE = bytes.fromhex("07 00 00000004 0000 02 06")


def giant(uid: str) -> list[bytes]:
    """The fragments of a data set with 100 MiB of pixels, but for some of the last ones."""
    head = data_set_with(uid) + bytes.fromhex("e07f 1000 4f57 0000 00004006")
    return [head, *[bytes(16378)] * (GIANT // 16378)]


class GiantTests(HostileTestCase):
    def serve_warm(self, *arguments: str) -> Server:
        """A server that has done once what it will do, so that its threads and buffers are there."""
        server = self.serve(LOOPBACK, *arguments)
        for number in range(8):
            send(server.address, data_set_with(f"1.1.{number}", bytes(MIB // 2)), f"1.1.{number}")
        self.assert_echoes(server)
        return server

    def assert_harmless(self, server: Server, before: int) -> None:
        """The peak of its memory is about what it was `before`, and it serves others."""
        self.assertLess(memory(server, "VmHWM") - before, MOST)
        self.assert_echoes(server)
        self.assertEqual(SUCCESS, self.peer(server).associate().store())
        self.assertNotIn("Traceback", server.stderr)

    def assert_ignored(self, server: Server, peer: Peer, chunk: bytes, answer: bytes) -> None:
        """100 MiB more of it are read, forgotten, and answered with no more than that."""
        before = memory(server, "VmHWM")
        peer.send(*[chunk] * (GIANT // len(chunk)))
        self.assertEqual(answer, peer.receive())
        self.assertTrue(peer.left_alone)
        peer.close()
        self.assert_harmless(server, before)

    def test_associate_rq(self) -> None:
        """An A-ASSOCIATE-RQ that claims 100 MiB, or 4 GiB, and streams them is answered at its header."""
        server = self.serve_warm()
        for length in (GIANT, 0xFFFFFFFF):
            peer = self.peer(server)
            peer.send(struct.pack(">BxI", 0x01, length) + ASSOCIATE_HEAD)
            self.assert_ignored(server, peer, item(0x21, bytes(CHUNK - 4)), ABORTED)

    def test_items(self) -> None:
        """100 MiB of items where 256 KiB were claimed: bad ones, and more unknown ones than may be skipped."""
        server = self.serve_warm()
        for item_type, body in ((0x50, "5100ffff"), (0x20, "01000000"), (0x21, "")):
            chunk = item(item_type, bytes.fromhex(body))
            peer = self.peer(server)
            peer.send(struct.pack(">BxI", 0x01, 256 * 1024) + ASSOCIATE_HEAD)
            self.assert_ignored(server, peer, chunk * (CHUNK // len(chunk)), ABORTED)

    def test_p_data_tf(self) -> None:
        """A P-DATA-TF longer than was announced is answered at its header."""
        server = self.serve_warm()
        for length in (16385, GIANT, 0xFFFFFFFF):
            peer = self.peer(server).associate()
            peer.send(struct.pack(">BxI", 0x04, length))
            self.assert_ignored(server, peer, bytes(CHUNK), INVALID_VALUE)

    def test_command_set(self) -> None:
        """A command set that never ends is taken up to 64 KiB, and no further."""
        server = self.serve_warm()
        peer = self.peer(server).associate()
        peer.send(*[p_data_tf(1, bytes(8192))] * 8)
        self.assertTrue(peer.left_alone)
        self.assert_ignored(server, peer, p_data_tf(1, bytes(16378)), ABORTED)

    def test_data_set(self) -> None:
        """An instance over --max-instance-size is read to its end, kept nowhere, and refused; the next is stored."""
        server = self.serve_warm("--max-instance-size", str(MIB))
        left = self.left
        before = memory(server, "VmHWM")
        peer = self.peer(server).associate()
        peer.send(*c_store_of(giant("1.2.3"), "1.2.3"))
        self.assertEqual(OUT_OF_RESOURCES, peer.status())
        self.assertEqual(left, self.left)
        small = data_set_with(UID, bytes(MIB // 2))
        self.assertEqual(SUCCESS, peer.store(small))
        self.assertEqual(sorted([*left, f"CT.{UID}"]), self.left)
        self.assertEqual(small, data_set_of(self.directory / f"CT.{UID}"))
        self.assertEqual(ECHO_RSP, peer.echo())
        self.assert_harmless(server, before)
        self.assertEqual(1, server.stderr.count("E: "), server.stderr)

    def test_data_set_without_end(self) -> None:
        """One that is cut off after 100 MiB, over that limit, leaves nothing either."""
        server = self.serve_warm("--max-instance-size", str(MIB))
        left = self.left
        before = memory(server, "VmHWM")
        peer = self.peer(server).associate()
        *pdus, _last = c_store_of(giant("1.2.3"), "1.2.3")
        peer.send(*pdus)
        self.assertEqual(INCOMING, [name for name in self.left if name.startswith(".incoming")])
        peer.reset()
        self.assertEqual(left, self.left)
        self.assert_harmless(server, before)
