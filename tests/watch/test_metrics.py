"""What Prometheus collects: every line of it, and that nobody is in its way, or it in anybody's."""

import re
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.defer import Deferred

from storescp.config import Config
from storescp.errors import Cause, StoreFailure
from storescp.interfaces import Room
from storescp.server.factory import StorageSCPFactory
from storescp.uids import STORAGE_SOP_CLASSES, VERSION
from storescp.ul.pdu import AAbort, AAssociateRJ
from storescp.watch.metrics import registry_for
from storescp.watch.progress import Outcome, Progress
from storescp.watch.tally import Tally
from tests.recorders import RecordingSink
from tests.server import (
    ABORT,
    ASSOCIATE_RQ,
    DATA_SET,
    LAST_DATA,
    RELEASE_RQ,
    STORE,
    STORE_COMMAND,
    Peer,
    ServerTestCase,
    p_data,
    pdv,
)
from tests.storage import request

ROOM = Room(place="/srv/images", free=3_000_000_000, total=5_000_000_000, temporary=2)

NOTHING = f"""\
# HELP storescp_associations_open Associations that are open
# TYPE storescp_associations_open gauge
storescp_associations_open 0.0
# HELP storescp_associations_accepted_total Associations accepted
# TYPE storescp_associations_accepted_total counter
storescp_associations_accepted_total 0.0
# HELP storescp_associations_released_total Associations released
# TYPE storescp_associations_released_total counter
storescp_associations_released_total 0.0
# HELP storescp_associations_rejected_total Associations rejected
# TYPE storescp_associations_rejected_total counter
# HELP storescp_associations_aborted_total Associations aborted
# TYPE storescp_associations_aborted_total counter
# HELP storescp_connections_refused_total Connections ended without an association
# TYPE storescp_connections_refused_total counter
# HELP storescp_limits_reached_total Limits reached, by the option
# TYPE storescp_limits_reached_total counter
# HELP storescp_instances_total Instances, by what they were answered
# TYPE storescp_instances_total counter
# HELP storescp_instances_failed_total Instances that were not stored
# TYPE storescp_instances_failed_total counter
storescp_instances_failed_total 0.0
# HELP storescp_instance_bytes_total Bytes of their data sets that came whole
# TYPE storescp_instance_bytes_total counter
# HELP storescp_receive_seconds From the request of an instance to its last byte
# TYPE storescp_receive_seconds histogram
RECEIVED
# HELP storescp_sync_seconds From the last byte of an instance until it was safe
# TYPE storescp_sync_seconds histogram
SYNCED
# HELP storescp_instances_waiting Instances received and not yet answered
# TYPE storescp_instances_waiting gauge
storescp_instances_waiting 0.0
# HELP storescp_build_info The version that runs
# TYPE storescp_build_info gauge
storescp_build_info{{version="{VERSION}"}} 1.0
"""
BOUNDS = [
    "0.001",
    "0.0025",
    "0.005",
    "0.01",
    "0.025",
    "0.05",
    "0.1",
    "0.25",
    "0.5",
    "1.0",
    "2.5",
    "5.0",
    "10.0",
    "30.0",
    "60.0",
    "+Inf",
]


def histogram(name: str, counts: list[int], total: float) -> str:
    """The lines of a histogram: `counts` up to each bound."""
    buckets = [f'{name}_bucket{{le="{le}"}} {count}.0' for le, count in zip(BOUNDS, counts, strict=True)]
    return "\n".join([*buckets, f"{name}_count {counts[-1]}.0", f"{name}_sum {total}"])


def exposition(registry: CollectorRegistry) -> str:
    """What is collected, without what is of the process."""
    text = generate_latest(registry).decode()
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(r"(# (HELP|TYPE) )?process_", line))


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each value by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(exposition(registry))
        for sample in family.samples
    }


class MetricsTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tally = Tally()
        self.progress = Progress(self.tally.instance, seconds=self.clock.seconds)
        self.room: Room | None = None
        self.limits: Counter[str] = Counter()
        self.registry = self.collected(self.limits)

    def collected(self, limits: Counter[str]) -> CollectorRegistry:
        return registry_for(self.tally, self.progress, limits, lambda: self.room)

    def serve(self, **options: Any) -> StorageSCPFactory:
        scp = StorageSCPFactory(Config(**options), self.storage, self.clock, [self.tally, self.progress])
        self.registry = self.collected(scp.limits_reached)
        scp.doStart()
        self.addCleanup(scp.doStop)
        return scp


class ExpositionTests(MetricsTestCase):
    """Each line."""

    def check(self, *changes: tuple[str, str]) -> None:
        """It is what it is at the start, but for `changes`: a line, and what stands in its place, or behind it."""
        expected = NOTHING
        for line, now in (
            *changes,
            ("RECEIVED", histogram("storescp_receive_seconds", [0] * 16, 0.0)),
            ("SYNCED", histogram("storescp_sync_seconds", [0] * 16, 0.0)),
        ):
            expected = expected.replace(f"{line}\n", f"{now}\n")
        self.assertEqual(expected.splitlines(), exposition(self.registry).splitlines())

    def test_nothing(self) -> None:
        """At the start everything is there, with nothing in it."""
        self.check()

    def test_disk(self) -> None:
        """The room on the disk is as it was last seen; where nobody has seen it there is none."""
        self.room = ROOM
        behind = "storescp_instances_waiting 0.0"
        disk = """\
# HELP storescp_free_bytes Bytes free where instances are stored
# TYPE storescp_free_bytes gauge
storescp_free_bytes 3e+09
# HELP storescp_size_bytes Bytes there are in all
# TYPE storescp_size_bytes gauge
storescp_size_bytes 5e+09
# HELP storescp_temporary_files Temporary files of instances on their way
# TYPE storescp_temporary_files gauge
storescp_temporary_files 2.0"""
        self.check((behind, f"{behind}\n{disk}"))

    def test_session(self) -> None:
        """A morning of a Storage SCP, in each of its lines."""
        scp = self.serve(max_associations=2, require_called_aet=True, max_instance_size=1000, storage_timeout=1000)
        peer = self.connect(scp, ASSOCIATE_RQ)
        self.store(peer, receive=2.0, sync=0.25)
        self.store(peer, receive=0.0625, sync=0.0)
        self.store(peer, receive=70.0, sync=100.0, failure=StoreFailure("full", 0xA700))
        self.storage.open_error = StoreFailure("no", 0xC000)
        peer.write(STORE)
        self.storage.open_error = None
        peer.write(STORE_COMMAND + p_data(pdv(3, LAST_DATA, bytes(1001))))
        cut_off = self.connect(scp, ASSOCIATE_RQ)
        cut_off.write(STORE_COMMAND)
        for data in (ASSOCIATE_RQ, ASSOCIATE_RQ.replace(b"STORESCP ", b"ANOTHER  "), b"GET / HTTP/1.1\r\n\r\n"):
            self.connect(scp, data).disconnect()
        cut_off.write(ABORT)
        cut_off.disconnect()
        waiting = self.begin(peer)
        open_ = {
            "storescp_associations_open 0.0": "storescp_associations_open 1.0",
            "storescp_associations_accepted_total 0.0": "storescp_associations_accepted_total 2.0",
            "storescp_instances_waiting 0.0": "storescp_instances_waiting 1.0",
        }
        self.check(*open_.items(), *self.behind(stored=2))
        waiting.callback(None)
        peer.write(RELEASE_RQ)
        peer.disconnect()
        closed = {
            "storescp_associations_accepted_total 0.0": "storescp_associations_accepted_total 2.0",
            "storescp_associations_released_total 0.0": "storescp_associations_released_total 1.0",
        }
        self.check(*closed.items(), *self.behind(stored=3))

    def behind(self, *, stored: int) -> Iterator[tuple[str, str]]:
        """The counters with labels, and the histograms, where so many were stored."""
        ct = 'sop_class="CT Image Storage"'
        for name, *lines in (
            (
                "associations_rejected",
                '{reason="max_associations"} 1.0',
                '{reason="called_ae_title_not_recognized"} 1.0',
            ),
            ("associations_aborted", '{cause="peer"} 1.0'),
            ("connections_refused", '{cause="protocol"} 1.0'),
            ("limits_reached", '{limit="max_instance_size"} 1.0', '{limit="max_associations"} 1.0'),
            (
                "instances",
                f'{{{ct},status="0000"}} {stored}.0',
                f'{{{ct},status="A700"}} 2.0',
                f'{{{ct},status="C000"}} 1.0',
                f'{{{ct},status="cut off"}} 1.0',
            ),
            (
                "instance_bytes",
                f'{{{ct},status="0000"}} {stored * len(DATA_SET)}.0',
                f'{{{ct},status="A700"}} {len(DATA_SET)}.0',
                f'{{{ct},status="C000"}} 0.0',
                f'{{{ct},status="cut off"}} 0.0',
            ),
        ):
            kind = f"# TYPE storescp_{name}_total counter"
            yield kind, "\n".join([kind, *(f"storescp_{name}_total{line}" for line in lines)])
        yield "storescp_instances_failed_total 0.0", "storescp_instances_failed_total 4.0"
        yield "RECEIVED", self.received(stored)
        yield "SYNCED", self.synced(stored)

    def received(self, stored: int) -> str:
        """One in 0.0625 s, one in 2 s, one in more than a minute, and what waits at once when it was stored."""
        quick = stored - 2
        counts = [quick] * 6 + [quick + 1] * 4 + [quick + 2] * 5 + [quick + 3]
        return histogram("storescp_receive_seconds", counts, 72.0625)

    def synced(self, stored: int) -> str:
        """One at once, one in 0.25 s, and the one that waited, at once."""
        quick = stored - 1
        return histogram("storescp_sync_seconds", [quick] * 7 + [quick + 1] * 9, 0.25)

    def connect(self, scp: StorageSCPFactory, data: bytes) -> Peer:
        peer = Peer(scp)
        self.addCleanup(peer.disconnect)
        peer.write(data)
        return peer

    def begin(self, peer: Peer, receive: float = 0.0) -> "Deferred[Any]":
        """An instance that takes so long to come; what its storage waits for."""
        sink = RecordingSink()
        sink.finished = Deferred()
        self.storage._prepared.append(sink)
        peer.write(STORE_COMMAND)
        self.clock.advance(receive)
        peer.write(p_data(pdv(3, LAST_DATA, DATA_SET)))
        return sink.finished

    def store(self, peer: Peer, receive: float, sync: float, failure: Exception | None = None) -> None:
        """An instance that takes so long to come and then to be stored, or not."""
        finished = self.begin(peer, receive)
        self.clock.advance(sync / 2)
        self.clock.advance(sync / 2)
        finished.errback(failure) if failure else finished.callback(None)


class ShapeTests(MetricsTestCase):
    """What holds of it whatever has happened."""

    def happen(self, number: int) -> None:
        """One of each event, as a Storage SCP would tell them."""
        tally, instance = self.tally, request(sop_class=SOP_CLASSES[number % len(SOP_CLASSES)])
        association: Any = instance.association
        tally.association_accepted(association, None, None)  # type: ignore[arg-type]
        self.progress.instance_opened(association, instance, None)
        self.progress.instance_received(association, instance, number)
        self.limits[f"limit_{number % 7}"] += 1
        self.progress.instance_refused(association, instance, StoreFailure("no", 0xA700 + number % 5))
        tally.instance(association, instance, Outcome(0.0, 0, 10, 1.0, number / 100, number / 1000))
        tally.association_rejected(association, AAssociateRJ(1, 1, 1), Cause(f"kind_{number % 9}", "x"))
        tally.association_aborted(association, AAbort(0, 0), Cause(f"kind_{number % 11}", "x"))
        tally.connection_refused("10.0.0.1:104", Cause(f"kind_{number % 13}", "x"))
        tally.association_released(association)
        tally.association_ended(association)

    def test_names(self) -> None:
        """SOP Classes of one name, as retired ones have, are one line, with the sum of both."""
        for uid, times in (("1.2.840.10008.5.1.4.1.1.6", 3), ("1.2.840.10008.5.1.4.1.1.6.1", 2)):
            for _ in range(times):
                self.tally.instance(request().association, request(sop_class=uid), Outcome(0.0, 0, 10))
        labels = (("sop_class", "Ultrasound Image Storage"), ("status", "0000"))
        found = samples(self.registry)
        name = "storescp_instance"
        self.assertEqual((5.0, 50.0), (found[f"{name}s_total", labels], found[f"{name}_bytes_total", labels]))

    def test_every_sop_class(self) -> None:
        """Nothing is lost of any SOP Class."""
        for uid in STORAGE_SOP_CLASSES:
            self.tally.instance(request().association, request(sop_class=uid), Outcome(0.0, 0, 10))
        found = [value for (name, _), value in samples(self.registry).items() if name == "storescp_instances_total"]
        self.assertEqual(len(STORAGE_SOP_CLASSES), sum(found))

    def test_grows(self) -> None:
        """Counters, buckets and sums only go up; the bucket of all is the count; what is open comes back to none."""
        before = samples(self.registry)
        for number in range(200):
            self.happen(number)
            now = samples(self.registry)
            self.assertEqual([], [key for key, value in before.items() if now[key] < value and "_open" not in key[0]])
            for name in ("storescp_receive_seconds", "storescp_sync_seconds"):
                self.assertEqual(now[f"{name}_count", ()], now[f"{name}_bucket", (("le", "+Inf"),)])
            before = now
        self.assertEqual((0.0, 200.0), (before[OPEN], before["storescp_associations_accepted_total", ()]))

    def test_process(self) -> None:
        """What the process takes is there beside it."""
        text = generate_latest(self.registry).decode()
        for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
            self.assertRegex(text, rf"(?m)^{name} [0-9]")

    def test_openmetrics(self) -> None:
        """The other format, which Prometheus asks for, is as whole."""
        self.room = ROOM
        for number in range(50):
            self.happen(number)
        text = generate_openmetrics(self.registry).decode()
        families = {family.name: family.type for family in parse_openmetrics(text)}
        self.assertEqual(
            ("counter", "histogram", "gauge", "gauge"),
            (
                families["storescp_instances"],
                families["storescp_sync_seconds"],
                families["storescp_free_bytes"],
                families["storescp_associations_open"],
            ),
        )

    def test_two(self) -> None:
        """Two Storage SCPs in one process are told apart by nothing, and do not meet."""
        other = registry_for(Tally(), Progress(), {}, lambda: None)
        self.happen(1)
        accepted = "storescp_associations_accepted_total", ()
        self.assertEqual((1.0, 0.0), (samples(self.registry)[accepted], samples(other)[accepted]))

    def test_collected_meanwhile(self) -> None:
        """Threads collect while this one counts, all the time new labels too: nothing fails, nothing goes down."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)
        self.tally.refused.update({f"new_{number}": 1 for number in range(500)})  # more than there ever are
        done: list[int] = []

        def collect() -> None:
            while not done:
                deque(self.registry.collect(), 0)

        def compare() -> list[object]:
            fallen: list[object] = []
            before = samples(self.registry)
            while not done:
                now = samples(self.registry)
                fallen += [key for key, value in before.items() if now[key] < value and key not in GAUGES]
                fallen += [key for key in now if now[key] < 0]
                before = now
            return fallen

        with ThreadPoolExecutor(4) as pool:
            collected = [pool.submit(collect) for _ in range(3)]
            compared = pool.submit(compare)
            try:
                for number in range(1000):
                    self.happen(number)
                    self.tally.refused[f"new_{number}"] += 1
            finally:
                done.append(1)
            self.assertEqual([None] * 3, [each.result(20) for each in collected])
            self.assertEqual([], compared.result(20))
        self.assertEqual(1000.0, samples(self.registry)["storescp_associations_released_total", ()])


SOP_CLASSES = sorted(STORAGE_SOP_CLASSES)
OPEN = ("storescp_associations_open", ())
GAUGES = (OPEN, ("storescp_instances_waiting", ()))
