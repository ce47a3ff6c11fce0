"""The benchmarks: what their sender sends, what they make of figures, and that they run."""

import importlib.util
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import attrs
import pydicom
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import bars, medians, sender, servers, tables, wire
from benchmarks.rounds import Grounds, Measurement, measure
from benchmarks.scenarios import SCENARIOS, SIZES, Scenario
from tests.program import make_directory
from tests.servers import ROOT

UID = wire.uid_of(1234567890, 3, 42)
RELEASE_RP = bytes.fromhex("06 00 00000004 00000000")


def response(message_id: int, status: int = 0x0000) -> bytes:
    """A C-STORE-RSP in one PDU."""
    return bytes.fromhex("04 00 00000048 00000044 01 03  0000 0000 04000000 36000000  0000 0001 02000000 0180") + (
        bytes.fromhex("0000 2001 02000000")
        + struct.pack("<H", message_id)
        + bytes.fromhex("0000 0008 02000000 0101  0000 0009 02000000")
        + struct.pack("<H", status)
        + bytes.fromhex("0000 0010 06000000") + b"1.2.3\0"
    )  # fmt: skip


def pdvs(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The length of each P-DATA-TF's body, its only PDV's control header, and its fragment."""
    while message:
        pdu_type, length, pdv_length, context, control = struct.unpack_from(">BxIIBB", message)
        if (pdu_type, pdv_length, context) != (0x04, length - 4, 1):
            raise AssertionError(message[:12].hex())
        yield length, control, message[12 : 6 + length]
        message = message[6 + length :]


class WireTests(SynchronousTestCase):
    def test_uid(self) -> None:
        """A UID is valid, and of one length whatever its numbers."""
        self.assertEqual("2.25.1234567890000030000042", UID)

    def test_store_rq(self) -> None:
        """The command is a C-STORE-RQ in one PDV."""
        self.assertEqual(
            bytes.fromhex("04 00 00000080 0000007c 01 03")
            + bytes.fromhex("0000 0000 04000000 6e000000  0000 0200 1a000000")
            + b"1.2.840.10008.5.1.4.1.1.2\0"
            + bytes.fromhex("0000 0001 02000000 0100  0000 1001 02000000 0700  0000 0007 02000000 0000")
            + bytes.fromhex("0000 0008 02000000 0100  0000 0010 1c000000")
            + b"2.25.1234567890000030000042\0",
            wire.store_rq(7, UID),
        )

    def test_image(self) -> None:
        """Fragments fill PDUs of the peer's maximum length, and are together a data set that pydicom reads."""
        for size in (2, 1024, 16000, 16384, 524288):
            for maximum_length, longest in ((0, 16384), (4096, 4096), (16382, 16382), (131072, 16384)):
                image = wire.Image(size, maximum_length)
                command, *data = pdvs(image.head(1, UID) + image.rest)
                self.assertEqual(3, command[1])
                self.assertEqual([0] * (len(data) - 1) + [2], [control for _, control, _ in data])
                self.assertEqual([longest] * (len(data) - 1), [length for length, _, _ in data[:-1]])
                self.assertLessEqual(data[-1][0], longest)
                self._check_data_set(b"".join(fragment for _, _, fragment in data), image.length)

    def _check_data_set(self, encoded: bytes, length: int) -> None:
        data_set = pydicom.dcmread(BytesIO(bytes(128) + b"DICM" + encoded), force=True)
        self.assertEqual(length, len(encoded))
        self.assertEqual((UID, "BENCH^MARK"), (data_set.SOPInstanceUID, data_set.PatientName))
        self.assertEqual(2 * data_set.Rows * data_set.Columns, len(data_set.PixelData))

    def test_sizes(self) -> None:
        """The sizes of the scenarios are those of their pixels to the byte, and rows and columns fit."""
        for size in {scenario.size for scenario in SCENARIOS}:
            start = wire.Image(2, 0).length - 2
            self.assertEqual(size + start, wire.Image(size, 0).length)

    def test_window(self) -> None:
        """A window is proposed where one is asked for, and what is answered is read."""
        self.assertNotIn(bytes.fromhex("53 00 0004"), wire.associate_rq())
        self.assertIn(bytes.fromhex("53 00 0004 0008 0001"), wire.associate_rq(8))
        head = bytes(68) + bytes.fromhex("10 00 0003") + b"1.2"
        user_information = bytes.fromhex("50 00 0010  51 00 0004 00001000  53 00 0004 0005 0001")
        self.assertEqual(wire.Accepted(4096, 5), wire.read_associate_ac(head + user_information))
        self.assertEqual(wire.Accepted(0, 1), wire.read_associate_ac(head))

    def test_response(self) -> None:
        """A response gives its message id; another status than Success is an error."""
        self.assertEqual(258, wire.answered(response(258)[6:]))
        for pdu in (response(1, 0xA700), response(1, 0xB000), wire.store_rq(1, UID)):
            with self.assertRaises(wire.PeerError):
                wire.answered(pdu[6:])


class Peer(threading.Thread):
    """Accepts a connection, receives so many bytes, a few at a time, and then sends its answer."""

    def __init__(self, expected: int, answer: bytes) -> None:
        super().__init__(daemon=True)
        self.received = bytearray()
        self._expected, self._answer = expected, answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(30)
        self.port: int = self._listening.getsockname()[1]

    def run(self) -> None:
        with self._listening, self._listening.accept()[0] as connection:
            connection.settimeout(30)
            while len(self.received) < self._expected and (chunk := connection.recv(10007)):
                self.received += chunk
            connection.sendall(self._answer)


class SenderTests(SynchronousTestCase):
    def test_remaining(self) -> None:
        """What is left after a partial send begins within a part, or with the next."""
        for sent in range(7):
            left = sender.remaining([memoryview(b"abc"), memoryview(b""), memoryview(b"def")], sent)
            self.assertEqual(b"abcdef"[sent:], b"".join(left))

    def test_partial_sends(self) -> None:
        """Requests that no socket takes at once arrive whole and in order; answers in pieces are put together."""
        requests = [(b"head 1", bytes(3 << 20)), (b"head 2", b"\1" * (5 << 20))]
        sent = b"".join(head + rest for head, rest in requests)
        peer = Peer(len(sent), RELEASE_RP + RELEASE_RP)
        peer.start()
        answers = []

        def script(connection: sender.Connection) -> sender.Script:
            for head, rest in requests:
                connection.send(head, rest)
            answers.append((yield))
            answers.append((yield))
            connection.close()

        loop = sender.Loop()
        connection = sender.Connection(loop, peer.port)
        loop.run([partial(connection.run, script(connection))], 1)
        peer.join(30)
        self.assertEqual([RELEASE_RP, RELEASE_RP], answers)
        self.assertTrue(peer.received == sent)  # no assertEqual, which would print them

    def test_closed(self) -> None:
        """A peer that closes the connection in the place of an answer is an error."""
        peer = Peer(10, b"")
        peer.start()
        loop = sender.Loop()
        connection = sender.Connection(loop, peer.port)
        self.addCleanup(connection.close)
        with self.assertRaises(wire.PeerError):
            loop.run([partial(connection.run, sender.release(connection))], 1)
        peer.join(30)

    def test_window(self) -> None:
        """No more requests than the window are under way, and responses may come in another order."""
        connection = StubConnection(wire.Accepted(16384, 2))
        latencies: list[float] = []
        script = sender.store(connection, [(number, b"%d" % number, b"") for number in (1, 2, 3, 4)], latencies)
        next(script)
        self.assertEqual([b"1", b"2"], connection.sent)
        script.send(response(2))
        self.assertEqual([b"1", b"2", b"3"], connection.sent)
        script.send(response(3))
        self.assertEqual([b"1", b"2", b"3", b"4"], connection.sent)
        script.send(response(1))
        with self.assertRaises(StopIteration):
            script.send(response(4))
        self.assertEqual(4, len(latencies))

    def test_other_message(self) -> None:
        """A response to a message that is not under way is an error."""
        script = sender.store(StubConnection(wire.Accepted(16384, 1)), [(1, b"", b"")], [])
        next(script)
        with self.assertRaises(wire.PeerError):
            script.send(response(2))

    def test_percentile(self) -> None:
        """The nearest rank: a value that occurred."""
        values = [float(number) for number in range(200, 0, -1)]
        self.assertEqual([100.0, 198.0], [sender.percentile(values, 0.5), sender.percentile(values, 0.99)])
        self.assertEqual(7.0, sender.percentile([7.0], 0.99))


class StubConnection(sender.Connection):
    """Keeps the heads of what is sent."""

    def __init__(self, accepted: wire.Accepted) -> None:
        self.accepted = accepted
        self.sent: list[bytes] = []

    def send(self, *parts: bytes) -> sender.Request:
        self.sent.append(parts[0])
        return sender.Request(*parts)


def rates(label: str, *values: float | None) -> list[Measurement]:
    """The rates of a server round by round; none where it failed."""
    return [
        Measurement("s", label, number, {} if value is None else {"rate": value}, "no" if value is None else "")
        for number, value in enumerate(values, 1)
    ]


class FiguresTests(SynchronousTestCase):
    def test_ratio(self) -> None:
        """Ratios are of the same round, and their median is not the ratio of the medians."""
        results = rates("ours", 10.0, 40.0, 90.0) + rates("peer", 10.0, 10.0, 100.0)
        self.assertEqual(1.0, medians.ratio(results, "s", "rate", "ours", "peer"))
        self.assertEqual(40.0, medians.median(results, "s", "ours", "rate"))

    def test_failed_rounds(self) -> None:
        """A round that one of the two failed does not count; without any there is no ratio."""
        results = rates("ours", 10.0, None, 90.0) + rates("peer", 5.0, 1.0, None) + rates("never", None, None, None)
        self.assertEqual(2.0, medians.ratio(results, "s", "rate", "ours", "peer"))
        self.assertEqual(None, medians.ratio(results, "s", "rate", "ours", "never"))

    def test_verdicts(self) -> None:
        """A bar that is just reached is held; lower is better where it says so."""
        higher = bars.Bar("s", "ours", "rate", "peer", 1.1, 1.4)
        lower = bars.Bar("s", "ours", "rate", None, 50.0, 20.0, "lower")
        self.assertEqual(
            ["not measured", "NOT HELD", "held", "held, and the aim"], list(map(higher.verdict, (None, 1.0, 1.1, 1.4)))
        )
        self.assertEqual(["NOT HELD", "held", "held, and the aim"], list(map(lower.verdict, (51.0, 50.0, 20.0))))

    def test_bars(self) -> None:
        """The table has the bars whose scenario was run, and in how many rounds nobody failed."""
        results = rates("ours", 11.0, 11.0) + rates("peer", 10.0, None)
        some = (bars.Bar("s", "ours", "rate", "peer", 1.0, 1.2), bars.Bar("other", "ours", "rate", None, 1.0, 1.0))
        self.assertEqual(
            """\
========  ====  ======  ==========  ========  ======  ===  =====  =======
scenario  ours  figure  to that of  measured  rounds  bar    aim  verdict
========  ====  ======  ==========  ========  ======  ===  =====  =======
s         ours    rate        peer      1.10       1  ≥ 1  ≥ 1.2     held
========  ====  ======  ==========  ========  ======  ===  =====  =======""",
            bars.report(results, some),
        )

    def test_bars_are_of_scenarios(self) -> None:
        """Each bar names servers that take part in its scenario."""
        labels = {scenario.name: {entry.label for entry in scenario.entries} for scenario in SCENARIOS}
        for bar in bars.BARS:
            self.assertLessEqual({bar.ours, bar.peer or bar.ours}, labels[bar.scenario])

    def test_table(self) -> None:
        """A server that failed has a row that says why; one that failed now and then has its other figures."""
        scenario = Scenario("s", "A title", "start", "tmpfs", ())
        scenario = attrs.evolve(scenario, entries=(attrs.evolve(SCENARIOS[0].entries[0], server="ours"),))
        results = [
            Measurement("s", "ours", 1, {"listening": 123.4, "start": 60.0}),
            Measurement("s", "ours", 2, {}, "now and then"),
            Measurement("s", "peer", 1, {"listening": 1234.5, "start": 0.5}),
            Measurement("s", "peer", 2, {"listening": 1234.5, "start": 0.5}),
            Measurement("s", "other", 1, {}, "no disk"),
            Measurement("s", "other", 2, {}, "no disk"),
        ]
        self.assertEqual(
            """\
s: A title

=============  =====  =====  =========
server            ms    MiB  ours ÷ it
=============  =====  =====  =========
ours (1 of 2)    123     60          1
peer           1,234  0.500      0.100
other          failed: no disk
-------------  -----------------------
=============  =====  =====  =========""",
            tables.of_scenario(scenario, results),
        )


class PlotTests(SynchronousTestCase):
    def test_drawn(self) -> None:
        """The curves that there are figures for are drawn into a PNG file."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed")
        from benchmarks import plot  # noqa: PLC0415  # needs matplotlib

        path = Path(make_directory(self)) / "rates.png"
        plot.draw([Measurement(SIZES[0].name, "none", 1, {"rate": 1000.0})], SIZES, path)
        self.assertEqual(b"\x89PNG", path.read_bytes()[:4])


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(make_directory(self))
        self.grounds = Grounds(self.directory, self.directory)
        self.scenario = attrs.evolve(SCENARIOS[0], instances=3, entries=SCENARIOS[0].entries[:1])
        self.server = servers.find("none", self.directory)

    def measure(self, server: servers.Server) -> Measurement:
        (measurement,) = measure(self.scenario, {"none": server}, self.grounds, 1)
        self.assertEqual([], list(self.directory.iterdir()))
        return measurement

    def test_ends_at_once(self) -> None:
        """A server that does not start is a failure with the last line that it printed, and the run goes on."""
        program = [sys.executable, "-c", "print('no', flush=True); raise SystemExit('no licence')"]
        server = attrs.evolve(self.server, command=lambda place: program)
        self.assertEqual("the server has ended: no licence", self.measure(server).failed)

    def test_stores_nothing(self) -> None:
        """A server that acknowledges and stores nothing has failed."""
        server = attrs.evolve(servers.find("ignore", self.directory), keeps="files")
        self.assertEqual("4 instances were to be stored, and there are 0 files", self.measure(server).failed)

    def test_run(self) -> None:
        """The command runs the scenarios that are asked for, says so in a file, and its exit code is 0."""
        if shutil.which("cc") is None:
            raise SkipTest("limit.c needs a C compiler, cc")
        kinds = ["8x512KiB", "1x16KiB", "associations-8", "idle", "beside", "start", "window"]
        run = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks", "--rounds", "1", "--scale", "0.05"),
                *("--scenario", *kinds, "--server", "none", "full", "limit"),
                *("--tmpfs", str(self.directory), "--disk", str(self.directory)),
                *("--json", str(self.directory / "json")),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        results = [(each["label"], each["failed"]) for each in json.loads((self.directory / "json").read_text())]
        self.assertEqual((0, ""), (run.returncode, run.stderr))
        self.assertEqual(
            [
                *(("none", ""), ("limit", "")) * 2,
                *[("none", "")] * 4,
                ("limit", ""),
                ("full, window 8", ""),
                ("full", ""),
            ],
            results,
        )
        self.assertEqual(["json"], [path.name for path in self.directory.iterdir()])
