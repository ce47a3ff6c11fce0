"""The port on which people and programs look: where it is, what it says, and that nobody harms anybody there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactor
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart, StoreFailure
from storescp.interfaces import AssociationObserver, IWatchedStorage, Room
from storescp.program.service import StorageSCPService, service_for
from storescp.testing import SCU, associate_rq
from storescp.uids import VERSION
from storescp.watch.tally import Tally
from tests.program.test_service import Reactor
from tests.program.test_service import ServiceTestCase as _ServiceTestCase
from tests.recorders import RecordingSink, RecordingStorage
from tests.senders import ASSOCIATE_RQ, NotAccepted, Sender, c_store, data_set_with, send
from tests.senders import associate_rq as bytes_of_rq
from tests.servers import LOOPBACK, SCRIPT, TWISTD, Server, ServerTestCase, free_port, wait_until, without_addresses
from tests.watch.test_site import GUARDS, TEXT, Answer, Visitor, answers

ROOM = Room(place="/srv/images", free=3_000, total=5_000, temporary=2)
QUIET = {"instances": [0] * 300, "bytes": [0] * 300}
NEARBY = "Whoever reaches {} can look at this server: nothing is asked there"
PROMETHEUS = "promtool"

_ANNOUNCED = re.compile(r"storescp: http on port (\d+)\n")

# What a server without a port to look at has no use for.
_UNUSED = (
    *("prometheus_client", "twisted.web", "tomllib", "tomli", "storescp.program.web"),
    *(f"storescp.watch.{name}" for name in ("board", "metrics", "progress", "site", "tally")),
)
# Runs the command in its last words, and says then which of the modules in the first it has imported.
_IMPORTED = """
import atexit, sys
unused = sys.argv.pop(1).split(",")
atexit.register(lambda: print("imported:", *sorted(set(unused) & set(sys.modules)), flush=True))
from storescp.program.main import run
sys.exit(run(sys.argv[1:]))
"""
_WITHOUT_PROMETHEUS = (
    *(sys.executable, "-c"),
    "import sys; sys.modules['prometheus_client'] = None; from storescp.program.main import run; sys.exit(run())",
)


@implementer(IWatchedStorage)
class WatchedStorage(RecordingStorage):
    """Says of itself what a test has set."""

    def __init__(self, *prepared: RecordingSink) -> None:
        super().__init__(*prepared)
        self.looks = 0
        self.probes = 0
        self.room: Deferred[Room] | None = None  # what the next look returns
        self.probed: Deferred[None] | None = None

    def look(self) -> "Deferred[Room]":
        self.looks += 1
        return self.room or succeed(ROOM)

    def probe(self) -> "Deferred[None]":
        self.probes += 1
        return self.probed or succeed(None)


class WebTestCase(_ServiceTestCase):
    """A service in memory, which is stopped at the end of the test."""

    storage: RecordingStorage

    def setUp(self) -> None:
        super().setUp()
        self.storage = WatchedStorage()
        self.observers: list[Any] = []

    def start(self, http: str = "8080", **options: Any) -> StorageSCPService:
        config = Config(port=11112, http=http, **options)
        service = service_for(config, storage=self.storage, observers=self.observers, reactor=self.reactor)
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: StorageSCPService) -> None:
        if service.running:
            service.stopService()

    def visitor(self) -> Visitor:
        (site,) = [port.factory for port in self.reactor.listening if port.number == 8080]
        visitor = Visitor(cast(Any, site))
        self.addCleanup(self.leave, visitor)
        return visitor

    def leave(self, visitor: Visitor) -> None:
        if not visitor.transport.disconnected:
            visitor.leave()

    def scu(self, calling: str = "CT1") -> SCU:
        return SCU(self.reactor.listening[0].factory, self.reactor, associate_rq(calling=calling))

    def snapshot(self) -> Any:
        (event,) = self.events(self.visitor().watch())
        return event

    def events(self, data: bytes) -> list[Any]:
        """What each of these events says."""
        found = []
        for event in data.decode("ascii").split("\n\n")[:-1]:
            *_, line = event.split("\n")
            self.assertEqual("data: ", line[:6])
            found.append(json.loads(line[6:]))
        return found


class EndpointTests(WebTestCase):
    """Where it listens."""

    def listens(self, http: str) -> tuple[str, list[str]]:
        """On which interface it does, and what is logged about that."""
        self.reactor = Reactor()
        with capturedLogs() as events:
            service = self.start(http)
            host = self.reactor.listening[1].getHost().host
            service.stopService()
        logged = [formatEvent(event) for event in events if event["log_namespace"] == "storescp.program.web"]
        return host, logged

    def test_this_machine(self) -> None:
        """A port, and an endpoint that names no interface, can be reached from this machine alone."""
        for http in (
            "8080",
            "0",
            "tcp:8080",
            "tcp:8080:backlog=5",
            "tcp:port=8080",
            "tcp:0",
            "tcp:8080:",
            "tcp:8080::5",
        ):
            self.assertEqual(("127.0.0.1", []), self.listens(http), http)
        self.assertEqual(("127.0.0.1", []), self.listens("haproxy:tcp:8080"))
        for http in ("tcp6:8080", "tcp6:0", "tcp6:8080:backlog=5", "tcp6:port=8080", "tcp6:8080:100"):
            self.assertEqual(("::1", []), self.listens(http), http)

    def test_named(self) -> None:
        """One that names one is taken at its word; a line says so where others can reach it."""
        for http, host in (
            ("tcp:8080:interface=127.0.0.2", "127.0.0.2"),
            ("tcp:8080:127.0.0.2", "127.0.0.2"),
            ("tcp:interface=127.0.0.1:port=8080", "127.0.0.1"),
            (r"tcp6:8080:interface=\:\:1", "::1"),
            (r"tcp:8080:interface=\:\:1", "::1"),
        ):
            self.assertEqual((host, []), self.listens(http), http)
        for http, host in (
            ("tcp:8080:interface=0.0.0.0", "0.0.0.0"),
            ("tcp:8080:interface=", "0.0.0.0"),
            ("tcp:8080:10.1.2.3", "10.1.2.3"),
            ("tcp:interface=10.1.2.3:port=8080", "10.1.2.3"),
            (r"tcp6:8080:interface=\:\:", "::"),
            (r"tcp6:8080:interface=2001\:db8\:\:1", "2001:db8::1"),
        ):
            self.assertEqual((host, [NEARBY.format(http)]), self.listens(http), http)

    def test_warned_each_time(self) -> None:
        """The line is a warning, and does not hide that everybody may store."""
        with capturedLogs() as events:
            self.start("tcp:8080:interface=0.0.0.0")
        texts = [formatEvent(event) for event in events if event["log_level"].name == "warn"]
        self.assertEqual(2, len(texts))
        self.assertEqual(NEARBY.format("tcp:8080:interface=0.0.0.0"), texts[1])

    def test_socket(self) -> None:
        """A socket of the file system has no number, and is nobody else's."""
        reactor = MemoryReactor()
        config = Config(port=11112, http="unix:socket")
        service = service_for(config, storage=self.storage, reactor=self.mixed(reactor))
        with capturedLogs() as events:
            service.privilegedStartService()
        assert service.web is not None
        self.assertEqual((["socket"], None), ([each[0] for each in reactor.unixServers], service.web.port))
        self.assertEqual([], [event for event in events if event["log_namespace"] == "storescp.program.web"])

    def mixed(self, reactor: MemoryReactor) -> Reactor:
        self.reactor.listenUNIX = reactor.listenUNIX  # type: ignore[method-assign]
        return self.reactor

    def test_names(self) -> None:
        """Where only this machine can reach it, it answers to no name that others can give; elsewhere to any."""
        for http, status in (("8080", 421), (r"tcp6:8080:interface=\:\:1", 421), ("tcp:8080:interface=0.0.0.0", 200)):
            self.reactor = Reactor()
            service = self.start(http)
            (answer,) = answers(self.visitor().say(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "GET")
            self.assertEqual((status, 200), (answer.status, self.visitor().get("/").status), http)
            service.stopService()

    def test_not_understood(self) -> None:
        """What cannot be understood is the caller's error, by the name of the option."""
        for http in ("", "x", "tcp:", "tcp:x", "tcp:8080:nope=1", "carrier-pigeon:1", "-1", "8080:", "tcp:1:2:3:4:5"):
            error = self.assertRaises(ConfigError, self.start, http)
            self.assertEqual(("http", True), (error.field, str(error).startswith(f"http: {http}: ")), http)
        self.assertEqual([], self.reactor.open_ports)

    def test_taken(self) -> None:
        """A port that is taken is told with its cause; then nothing listens, and nothing is left running."""
        error = self.assertRaises(CannotStart, self.start, "104")
        self.assertEqual(
            "--http 104: Couldn't listen on 127.0.0.1:104: [Errno 98] Address already in use.",
            re.sub("listen on [^:]*:", "listen on 127.0.0.1:", str(error)),
        )
        self.assertEqual(([], ["start", "stop"]), (self.reactor.open_ports, self.storage.calls))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_another_try(self) -> None:
        """After that it can be started when the port is free."""
        self.assertRaises(CannotStart, self.start, "104")
        self.reactor.taken.clear()
        self.start("104")
        self.assertEqual([11112, 104], self.reactor.open_ports)

    def test_not_installed(self) -> None:
        """Where its library is not there, it says how to get it; without the option nobody asks for it."""
        left = {
            name: module
            for name, module in sys.modules.items()
            if name not in ("storescp.program.web", "storescp.watch.metrics")
        }
        gone = dict.fromkeys([name for name in left if name.startswith("prometheus_client")])
        with mock.patch.dict(sys.modules, {**left, **gone, "prometheus_client": None}, clear=True):
            error = self.assertRaises(CannotStart, self.start)
            self.make(port=11112)
        self.assertRegex(str(error), r"prometheus_client.*; pip install 'storescp\[http\]'\Z")

    def test_none(self) -> None:
        """Without the option there is none."""
        self.assertIsNone(self.make(port=11112).web)


class LifeTests(WebTestCase):
    """When it is there."""

    def test_start(self) -> None:
        """It comes behind the ports for instances, and only with the start."""
        service = service_for(Config(port=11112, http="8080"), storage=self.storage, reactor=self.reactor)
        self.assertEqual([], self.reactor.open_ports)
        service.privilegedStartService()
        self.assertEqual([11112, 8080], self.reactor.open_ports)
        self.assertEqual([11112], [address.port for address in service.addresses])
        self.stop_now(service)

    def stop_now(self, service: StorageSCPService) -> None:
        self.assertIsNone(self.successResultOf(service.stopService()))
        self.assertEqual([], self.reactor.open_ports)

    def test_harden(self) -> None:
        """The system is asked to find out which of those who look are gone, or do not read, as of those who store."""
        self.start()
        instances, web = self.reactor.listening
        self.assertEqual((True, instances.socket.options), (bool(web.socket.options), web.socket.options))

    def test_grace(self) -> None:
        """While instances finish it is there, alive but not ready; then it is closed, with its connections."""
        sink = RecordingSink()
        sink.finished = Deferred()
        self.storage._prepared.append(sink)
        service = self.start()
        scu = self.scu()
        scu.store("1.2.3", b"data")
        watcher = self.visitor()
        watcher.watch()
        stopped = service.stopService()
        self.assertEqual([8080], self.reactor.open_ports)
        visitor = self.visitor()
        expected = Answer(503, {"Content-Type": TEXT, **GUARDS}, b"not ready: it stops\n")
        self.assertEqual((expected, 200), (visitor.get("/readyz"), visitor.get("/healthz").status))
        self.reactor.advance(1)
        (event,) = self.events(watcher.heard())
        self.assertEqual(
            ([], False, "it stops", 1),
            (event["listening"], event["ready"], event["hindrance"], event["instances"]["waiting"]),
        )
        sink.finished.callback(None)
        scu.pump()
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(([], True, True), (self.reactor.open_ports, *self.hung_up(watcher, visitor)))

    def hung_up(self, *visitors: Visitor) -> Iterator[bool]:
        for visitor in visitors:
            yield bool(visitor.transport.disconnected)

    def test_nothing_left(self) -> None:
        """After the end nothing is scheduled, also where somebody waits for a disk that hangs."""
        storage = cast(WatchedStorage, self.storage)
        storage.probed, storage.room = Deferred(), Deferred()
        service = self.start()
        visitors = [self.visitor() for _ in range(3)]
        visitors[0].watch()
        visitors[1].ask("/readyz")
        self.stop_now(service)
        for visitor in visitors:
            visitor.leave()
        self.assertEqual([], self.reactor.getDelayedCalls())
        storage.probed.callback(None)
        storage.room.callback(ROOM)
        self.assertEqual([], self.flushLoggedErrors())

    def test_again(self) -> None:
        """A service that is started again is looked at again; what it has counted stays."""
        service = self.start()
        for round_ in (1, 2, 3):
            self.scu().release()
            shown = self.snapshot()
            self.assertEqual((True, round_), (shown["ready"], shown["associations"]["accepted"]))
            self.assertEqual(200, self.visitor().get("/readyz").status)
            watcher = self.visitor()
            watcher.watch()
            self.reactor.advance(1)
            self.assertEqual(1, len(self.events(watcher.heard())))
            self.stop_now(service)
            watcher.leave()
            service.startService()
        self.assertEqual([11112, 8080], self.reactor.open_ports)

    def test_twice(self) -> None:
        """It is stopped as often as anybody likes."""
        service = self.start()
        for _ in range(2):
            self.stop_now(service)

    def test_observers(self) -> None:
        """It is told by observers like others: one that raises is no harm to it, nor is it to them."""

        class Broken(AssociationObserver):
            def instance_stored(self, *_: Any) -> None:
                raise ZeroDivisionError

        self.observers = [Broken()]
        self.patch(Tally, "association_accepted", Broken.instance_stored)
        self.start()
        scu = self.scu()
        scu.store("1.2.3", b"data")
        scu.release()
        shown = self.snapshot()
        self.assertEqual((1, 0), (shown["instances"]["stored"], shown["associations"]["accepted"]))
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))


class ReadyTests(WebTestCase):
    """``/readyz`` of a service."""

    def ready(self) -> tuple[int, str]:
        answer = self.visitor().get("/readyz")
        return answer.status, answer.body.decode()

    def test_ready(self) -> None:
        """It listens, the storage is ready, and it has taken a probe."""
        self.start()
        self.assertEqual((200, "ready\n"), self.ready())
        self.assertEqual(1, cast(WatchedStorage, self.storage).probes)

    def test_storage_ill(self) -> None:
        """Where the storage says that it does not work, new associations are rejected: that is not ready."""
        self.start()
        self.storage.is_ready = False
        self.assertEqual((503, "not ready: the storage does not work\n"), self.ready())
        shown = self.snapshot()
        self.assertEqual((False, "the storage does not work"), (shown["ready"], shown["hindrance"]))
        self.assertEqual(0, cast(WatchedStorage, self.storage).probes)
        self.storage.is_ready = True
        self.assertEqual((200, "ready\n"), self.ready())

    def test_probe(self) -> None:
        """What a probe fails with is the reason; one that hangs is given up, by the clock of the service."""
        self.start()
        storage = cast(WatchedStorage, self.storage)
        storage.probed = fail(OSError(30, "Read-only file system"))
        self.assertEqual((503, "not ready: Read-only file system\n"), self.ready())
        storage.probed = Deferred()
        visitor = self.visitor()
        visitor.ask("/readyz")
        self.reactor.advance(4.9)
        self.assertEqual(b"", visitor.heard())
        self.reactor.advance(0.1)
        (answer,) = answers(visitor.heard(), "GET")
        self.assertEqual((503, b"not ready: the disk has not answered for 5 s\n"), (answer.status, answer.body))

    def test_embedder(self) -> None:
        """A storage that cannot be asked, as --ignore's is one, is ready by its own word."""
        self.storage = RecordingStorage()
        self.start()
        self.assertEqual((200, "ready\n"), self.ready())
        self.storage.is_ready = False
        self.assertEqual((503, "not ready: the storage does not work\n"), self.ready())
        self.assertEqual(None, self.snapshot()["disk"])

    def test_ignore(self) -> None:
        """The same of --ignore."""
        config = Config(port=11112, http="8080", ignore=True, output_directory="/missing")
        service = service_for(config, reactor=self.reactor)
        service.startService()
        self.addCleanup(self.stop, service)
        self.assertEqual(((200, "ready\n"), None), (self.ready(), self.snapshot()["disk"]))


class ScarceTests(WebTestCase):
    """A disk that takes no instance, as far as it was seen."""

    def shown(self, **options: Any) -> tuple[bool, str]:
        self.start(**options)
        shown = self.snapshot()
        return shown["ready"], shown["hindrance"]

    def test_enough(self) -> None:
        """3000 bytes are free, and no more are wanted."""
        self.assertEqual((True, ""), self.shown(min_free=3000))

    def test_scarce(self) -> None:
        """One more is wanted."""
        self.assertEqual((False, "less than 3001 bytes are free (--min-free)"), self.shown(min_free=3001))

    def test_full(self) -> None:
        """None is free, and none is wanted."""
        cast(WatchedStorage, self.storage).room = succeed(Room(place="/srv", free=0, total=5000, temporary=0))
        self.assertEqual((False, "the disk is full"), self.shown())


class DiskTests(WebTestCase):
    """What is shown of the room on the disk, by looks now and then."""

    def disk(self) -> Any:
        return self.snapshot()["disk"]

    def test_looks(self) -> None:
        """It is looked at at the start, and every five seconds; the age says when that was."""
        self.start()
        storage = cast(WatchedStorage, self.storage)
        shown = {"directory": "/srv/images", "free": 3000, "total": 5000, "temporary": 2, "age": 0.0}
        self.assertEqual((shown, 1), (self.disk(), storage.looks))
        ages = []
        for _ in range(12):
            self.reactor.advance(1)
            ages.append(self.disk()["age"])
        self.assertEqual(([1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2], 3), (ages, storage.looks))

    def test_hangs(self) -> None:
        """While a look hangs no other is begun; what was seen last stays, and grows old."""
        self.start()
        storage = cast(WatchedStorage, self.storage)
        storage.room = Deferred()
        for _ in range(60):
            self.reactor.advance(1)
        self.assertEqual((2, 3000, 60.0), (storage.looks, self.disk()["free"], self.disk()["age"]))
        hung, storage.room = storage.room, None
        hung.callback(Room(place="/srv/images", free=1, total=5000, temporary=0))
        self.assertEqual((1, 0.0), (self.disk()["free"], self.disk()["age"]))
        for _ in range(5):
            self.reactor.advance(1)
        self.assertEqual(3, storage.looks)

    def test_fails(self) -> None:
        """A look that fails is no news; the next one may."""
        storage = cast(WatchedStorage, self.storage)
        storage.room = fail(OSError(5, "Input/output error"))
        self.start()
        nothing = {"directory": None, "free": None, "total": None, "temporary": None}
        self.assertEqual({**nothing, "age": 0.0}, self.disk())
        self.reactor.pump([1] * 4)
        self.assertEqual({**nothing, "age": 4.0}, self.disk())
        storage.room = None
        self.reactor.advance(1)
        self.assertEqual((3000, 0.0), (self.disk()["free"], self.disk()["age"]))
        self.assertEqual([], self.flushLoggedErrors())

    def test_raises(self) -> None:
        """One of somebody else's that raises does not end the events, or the looks."""
        storage = cast(WatchedStorage, self.storage)
        self.start()
        watcher = self.visitor()
        watcher.watch()
        self.patch(storage, "look", lambda: 1 // 0)
        for _ in range(10):
            self.reactor.advance(1)
        self.assertEqual(10, len(self.events(watcher.heard())))
        self.flushLoggedErrors(ZeroDivisionError)


class EventTests(WebTestCase):
    """``/events`` of a service: what is in them."""

    def test_whole(self) -> None:
        """A snapshot has these keys and no more; all of them, before anything has happened."""
        self.start()
        first = self.snapshot()
        now = first.pop("now")
        self.assertIsInstance(now, float)
        self.assertEqual(
            {
                "version": VERSION,
                "ae_title": "STORESCP",
                "uptime": 0.0,
                "listening": ["0.0.0.0:11112"],
                "ready": True,
                "hindrance": "",
                "associations": {"open": 0, "accepted": 0, "rejected": 0, "aborted": 0, "refused": 0, "list": []},
                "instances": {"stored": 0, "failed": 0, "bytes": 0, "waiting": 0, "last": []},
                "rate": QUIET,
                "disk": {"directory": "/srv/images", "free": 3000, "total": 5000, "temporary": 2, "age": 0.0},
                "errors": [],
            },
            first,
        )

    def test_busy(self) -> None:
        """And after a few associations it has these."""
        self.start(max_associations=2, ae_title="ARCHIVE")
        failing = RecordingSink()
        failing.finished = fail(StoreFailure("full", 0xA700))
        waiting = RecordingSink()
        waiting.finished = Deferred()
        self.storage._prepared = [RecordingSink(), failing, waiting]
        one, two, three = self.scu("CT1"), self.scu("CT2"), self.scu("CT3")
        for name in ("1.2.1", "1.2.2"):
            one.store(name, b"data set")
        two.store("1.2.3", b"more")
        one.abort()
        for scu in (one, three):
            scu.disconnect()
        Visitor(cast(Any, self.reactor.listening[0].factory)).leave()
        self.reactor.advance(2)
        shown = self.snapshot()
        now = shown["now"]
        associations, instances = shown["associations"], shown["instances"]
        (listed,), last, errors = associations.pop("list"), instances.pop("last"), shown["errors"]
        self.assertEqual(
            {"open": 1, "accepted": 2, "rejected": 1, "aborted": 1, "refused": associations["refused"]}, associations
        )
        self.assertEqual({"stored": 1, "failed": 1, "bytes": 8, "waiting": 1}, instances)
        self.assertEqual(("ARCHIVE", 2.0), (shown["ae_title"], shown["uptime"]))
        keys = ["id", "peer", "calling", "called", "since", "instances", "bytes", "failed"]
        self.assertEqual((keys, "CT2"), (list(listed), listed["calling"]))
        self.assertAlmostEqual(now - 2, listed["since"], places=0)
        keys = ["time", "calling", "sop_class", "status", "words", "bytes", "receive", "sync"]
        self.assertEqual([keys] * 2, [list(each) for each in last])
        self.assertEqual([(0xA700, 8), (0, 8)], [(each["status"], each["bytes"]) for each in last])
        self.assertEqual([["time", "kind", "peer", "calling", "text"]] * len(errors), [list(each) for each in errors])
        self.assertEqual({"failed", "aborted", "rejected"}, {each["kind"] for each in errors} - {"refused"})
        rate = shown["rate"]
        self.assertEqual((2, 16, 300, 300), (sum(rate["instances"]), sum(rate["bytes"]), *map(len, rate.values())))
        waiting.finished.callback(None)
        two.release()

    def test_each_second(self) -> None:
        """One comes at once, and one each second."""
        self.start()
        watcher = self.visitor()
        self.reactor.advance(0.5)
        self.assertEqual([0.5], [each["uptime"] for each in self.events(watcher.watch())])
        uptimes = []
        for _ in range(20):
            self.reactor.advance(0.125)
            uptimes += [each["uptime"] for each in self.events(watcher.heard())]
        self.assertEqual([1.0, 2.0, 3.0], uptimes)

    def test_late(self) -> None:
        """A reactor that was kept from it for an hour sends one, not what it has missed."""
        self.start()
        watcher = self.visitor()
        watcher.watch()
        self.reactor.advance(3600.5)
        self.assertEqual([3600.5], [each["uptime"] for each in self.events(watcher.heard())])
        self.reactor.advance(0.5)
        self.assertEqual([3601.0], [each["uptime"] for each in self.events(watcher.heard())])

    def test_hostile_title(self) -> None:
        """What is between the lines of an event cannot be made by a peer."""
        self.start()
        scu = self.scu('"}\n\ndata: {"x')
        shown = self.snapshot()
        self.assertEqual('"}\\x0a\\x0adata: {"x', shown["associations"]["list"][0]["calling"])
        scu.disconnect()

    def test_bound(self) -> None:
        """However many come, an event has a bound."""
        self.start(max_associations=200, max_associations_per_peer=200)
        scus = [self.scu("\xff" * 16) for _ in range(100)]
        for scu in scus:
            scu.store("1.2.3", b"data")
        watched = self.visitor().watch()
        self.assertLess(len(watched), 64 * 1024)
        (shown,) = self.events(watched)
        self.assertEqual((100, 50, 25), tuple(self.lengths(shown)))
        for scu in scus:
            scu.abort()
            scu.disconnect()
        shown = self.snapshot()
        self.assertEqual((0, 0, 25, 25), (*self.lengths(shown), len(shown["errors"])))

    def lengths(self, shown: Any) -> Iterator[int]:
        yield shown["associations"]["open"]
        yield len(shown["associations"]["list"])
        yield len(shown["instances"]["last"])


@contextmanager
def at_once(*works: Callable[[], object]) -> Iterator[None]:
    """Each of these is done again and again by a thread of its own, until the end."""
    done = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        while not done.is_set():
            work()

    threads = [threading.Thread(target=repeat, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join(30)


def hear(connection: socket.socket, end: bytes = b"") -> bytes:
    """What comes until the end, or until this has come."""
    heard = b""
    while not (end and end in heard) and (chunk := connection.recv(65536)):
        heard += chunk
    return heard


class ProcessTestCase(ServerTestCase):
    """A server in a process of its own, which somebody looks at."""

    def watched(self, *arguments: str, http: str = "0", **kwargs: Any) -> Server:
        server = self.serve(LOOPBACK, f"--http={http}", *arguments, **kwargs)
        if http == "0":
            wait_until(lambda: bool(_ANNOUNCED.search(server.stdout)), "the announcement of the port to look at")
            self.web = "127.0.0.1", int(_ANNOUNCED.findall(server.stdout)[0])
        return server

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.web, timeout=20)
        self.addCleanup(connection.close)
        return connection

    def get(self, path: str, method: str = "GET") -> Answer:
        with socket.create_connection(self.web, timeout=20) as connection:
            return self.ask(connection, path, method)

    def ask(self, connection: socket.socket, path: str, method: str = "GET") -> Answer:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        (answer,) = answers(hear(connection), method)
        return answer

    def send(self, server: Server, uid: str) -> None:
        """One instance, which must be stored."""
        send(server.address, data_set_with(uid), uid)

    def value(self, name: str) -> float:
        """Of one of the metrics."""
        (value,) = re.findall(rf"(?m)^{re.escape(name)} (.*)$", self.get("/metrics").body.decode())
        return float(value)


class MetricsTests(ProcessTestCase):
    """``/metrics`` of a process."""

    METRICS = "text/plain; version=0.0.4; charset=utf-8"

    def test_methods(self) -> None:
        """It is there for GET and HEAD alone, guarded as all else, and nothing is below it."""
        self.watched()
        answer = self.get("/metrics")
        self.assertEqual((200, {"Content-Type": self.METRICS, **GUARDS}), (answer.status, answer.headers))
        self.assertIn(b"\nstorescp_associations_accepted_total 0.0\n", answer.body)
        self.assertEqual((200, b""), (self.get("/metrics", "HEAD").status, self.get("/metrics", "HEAD").body))
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "FOO"):
            self.assertEqual(405, self.get("/metrics", method).status, method)
        for path in ("/metrics/x", "/metrics/", "/metrics/favicon.ico"):
            self.assertEqual(404, self.get(path).status, path)

    def test_lint(self) -> None:
        """Prometheus has nothing against it, after all that can happen has, while it goes on."""
        promtool = shutil.which(PROMETHEUS)
        if promtool is None:
            raise SkipTest(f"{PROMETHEUS} is not installed")
        server = self.watched("--max-associations=3", "--max-instance-size=1000", "-ta", "1")
        for uid in ("1.2.1", "1.2.2", "1.2.1"):
            self.send(server, uid)
        held = [Sender(server.address) for _ in range(3)]
        self.assertRaises(NotAccepted, Sender, server.address)
        self.assertEqual(0xA700, held[0].store(bytes(2000), "1.2.3"))
        held[0].abort()
        held[1].send(*c_store()[:1])
        held[1].reset()
        held[2].send(b"\x04\0\0\0\0\4odd.")
        held[2].receive()
        held[2].close()
        self.refused(server, b"GET / HTTP/1.1\r\n\r\n")
        self.refused(server, ASSOCIATE_RQ[:20])
        self.refused(server, bytes_of_rq()[:4] + bytes(200))
        wait_until(lambda: self.value("storescp_associations_open") == 0, "the end of all")
        with at_once(lambda: self.send(server, "1.2.9")):
            for _ in range(5):
                text = self.get("/metrics").body
                checked = subprocess.run(
                    [promtool, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
                )
                self.assertEqual((0, b"", b""), (checked.returncode, checked.stdout, checked.stderr))
        for line in (
            'storescp_associations_rejected_total{reason="max_associations"} 1.0',
            'storescp_associations_aborted_total{cause="peer"} 1.0',
            'storescp_associations_aborted_total{cause="connection"} 1.0',
            'storescp_associations_aborted_total{cause="protocol"} 1.0',
            'storescp_limits_reached_total{limit="max_instance_size"} 1.0',
            'storescp_instances_total{sop_class="CT Image Storage",status="A700"} 1.0',
            'storescp_instances_total{sop_class="CT Image Storage",status="cut off"} 1.0',
        ):
            self.assertIn(f"\n{line}\n", text.decode())
        self.assertRegex(text.decode(), r'\nstorescp_connections_refused_total\{cause="protocol"\} [1-9]')

    def refused(self, server: Server, data: bytes) -> None:
        with socket.create_connection(server.address, timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            hear(connection)

    def test_agrees(self) -> None:
        """What it says of instances is what was stored, under its right name; the histograms count the same."""
        server = self.watched()
        for number in range(20):
            self.send(server, f"1.2.{number}")
        ct = '{sop_class="CT Image Storage",status="0000"}'
        names = (
            *(f"storescp_instances_total{ct}", f"storescp_instance_bytes_total{ct}"),
            *("storescp_receive_seconds_count", "storescp_sync_seconds_count"),
            *("storescp_instances_waiting", "storescp_temporary_files", "storescp_associations_released_total"),
        )
        wait_until(lambda: self.value("storescp_associations_open") == 0, "the end of all")
        size = sum(len(data_set_with(f"1.2.{number}")) for number in range(20))
        self.assertEqual([20, size, 20, 20, 0, 0, 20], [self.value(name) for name in names])
        status = os.statvfs(self.directory)
        self.assertEqual(status.f_blocks * status.f_frsize, self.value("storescp_size_bytes"))

    def test_stopped_amid(self) -> None:
        """A stop is not kept up by those who are just being told."""
        server = self.watched()
        connections = [self.connect() for _ in range(30)]
        for connection in connections:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        hear(connections[0], b"storescp_build_info")
        ended = server.stop(seconds=10)
        self.assertEqual((0, ""), (ended.code, ended.stderr))


class ProgramTests(ProcessTestCase):
    """The option, as a user sees it."""

    def fails(self, *arguments: str, command: tuple[str, ...] = SCRIPT) -> tuple[int, str, str]:
        ended = self.run_program(*arguments, command=command).ended()
        return ended.code, ended.stdout, ended.stderr

    def test_announced(self) -> None:
        """A port that the system chose is announced, in a line of its own behind the other one."""
        server = self.watched()
        self.assertRegex(server.stdout, r"\Astorescp: listening on port \d+\nstorescp: http on port \d+\n\Z")
        self.assertEqual(b"ready\n", self.get("/readyz").body)
        self.assertEqual("", server.stop().stderr)

    def test_not_understood(self) -> None:
        """An endpoint that cannot be understood is a mistake on the command line, in one line."""
        for http, why in (
            ("carrier-pigeon:1", "Unknown endpoint type: 'carrier-pigeon'"),
            ("tcp:x", "invalid literal for int() with base 10: 'x'"),
        ):
            expected = f"storescp: error: argument --http: {http}: {why}\n"
            self.assertEqual((2, "", expected), self.fails(LOOPBACK, f"--http={http}"))

    def test_taken(self) -> None:
        """A port that is taken is exit code 1, and nothing was announced."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, stdout, stderr = self.fails(LOOPBACK, f"--http={port}")
        expected = rf"storescp: error: --http {port}: .*Address already in use\.\n"
        self.assertEqual((1, ""), (code, stdout))
        self.assertRegex(stderr, rf"\A{expected}\Z")

    def test_not_installed(self) -> None:
        """Without its library there is one line that says how to get it."""
        code, stdout, stderr = self.fails(LOOPBACK, "--http=0", command=_WITHOUT_PROMETHEUS)
        self.assertEqual((1, ""), (code, stdout))
        self.assertRegex(stderr, r"\Astorescp: error: .*prometheus_client.*; pip install 'storescp\[http\]'\n\Z")

    def test_without(self) -> None:
        """A server without the option imports nothing that is for it, though it has served."""
        command = (sys.executable, "-c", _IMPORTED, ",".join(_UNUSED))
        server = self.serve(LOOPBACK, command=command)
        send(server.address)
        self.assertEqual((0, ""), (server.stop().code, server.stderr))
        self.assertEqual(["imported:"], [line.strip() for line in server.stdout.splitlines()[1:]])

    def test_with(self) -> None:
        """With it, it does: the test above would see them."""
        server = self.watched(command=(sys.executable, "-c", _IMPORTED, ",".join(_UNUSED)))
        server.stop()
        expected = sorted({*_UNUSED} - {"tomllib", "tomli"})
        self.assertEqual(["imported:", *expected], server.stdout.splitlines()[-1].split())

    def test_socket(self) -> None:
        """A socket of the file system is listened on, for everything that there is to see."""
        path = str(self.directory / "web")
        server = self.watched(http=f"unix:{path}")
        wait_until(lambda: Path(path).exists(), "the socket")
        for where in ("/", "/healthz", "/readyz", "/metrics"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(path)
                self.assertEqual(200, self.ask(connection, where).status, where)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: storescp\r\nConnection: close\r\n\r\n")  # no browser does
            self.assertEqual(200, answers(hear(connection), "GET")[0].status)
        self.assertEqual((0, ""), (server.stop().code, server.stderr))

    def test_twistd(self) -> None:
        """Under twistd it is the same, and its lines are few."""
        self.web = "127.0.0.1", free_port()
        server = self.serve(LOOPBACK, f"--http={self.web[1]}", command=TWISTD)
        send(server.address)
        self.assertEqual(
            (b"ready\n", 1.0), (self.get("/readyz").body, self.value("storescp_associations_accepted_total"))
        )
        ended = server.stop()
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)


class CrowdTests(ProcessTestCase):
    """Who looks, and who stores, side by side."""

    def test_flood(self) -> None:
        """While some ask for everything as fast as they can, instances are stored, each of them."""
        server = self.watched()

        def pipeline() -> None:
            with socket.create_connection(self.web, timeout=20) as connection:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5 + b"GET / HTTP/1.0\r\n\r\n")
                hear(connection)

        unread = [self.connect() for _ in range(8)]
        for connection in unread:
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        works = (
            pipeline,
            lambda: self.get("/readyz"),
            lambda: self.get("/metrics"),
            lambda: self.get("/events", "HEAD"),
        )
        with at_once(*works):
            for number in range(20):
                self.send(server, f"1.2.{number}")
        ended = server.stop()
        self.assertEqual((0, ""), (ended.code, ended.stderr))
        self.assertEqual(20, len([name for name in self.left if name.startswith("CT.")]))

    def test_wrong_port(self) -> None:
        """An association asked for on the one port, and a page on the other, end, and harm nobody."""
        server = self.watched()
        with socket.create_connection(server.address, timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            self.assertNotIn(b"HTTP", hear(connection))
        with socket.create_connection(self.web, timeout=20) as connection:
            connection.sendall(ASSOCIATE_RQ + b"\r\n" * 3)
            self.assertTrue(hear(connection).startswith(b"HTTP/1.1 400 "))
        send(server.address)
        self.assertEqual(b"ready\n", self.get("/readyz").body)
        why = "ended without an association: PDU type 47H is unknown; it may be HTTP"
        ended = server.stop()
        self.assertEqual((0, f"W: Connection from PEER {why}\n"), (ended.code, without_addresses(ended.stderr)))

    def test_most(self) -> None:
        """Where more than 64 connections are held open the oldest are closed; instances are stored all the same."""
        server = self.watched()
        connections = [self.connect() for _ in range(64)]
        for connection in connections:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"alive", hear(connection, b"alive\n"))
        self.assertEqual(b"ready\n", self.get("/readyz").body)
        with self.assertRaises(ConnectionResetError):
            connections[0].recv(1)
        send(server.address)
        connections[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"alive", hear(connections[-1], b"alive\n"))
        self.assertEqual((0, ""), (server.stop().code, server.stderr))

    def test_gone(self) -> None:
        """Those who leave at once, or by force, in the middle of anything, leave no line in the log."""
        server = self.watched()
        for path in ("/events", "/readyz", "/metrics", "/"):
            for _ in range(20):
                with socket.create_connection(self.web, timeout=20) as connection:
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 3)
                    linger = b"\1\0\0\0\0\0\0\0"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.assertEqual(b"ready\n", self.get("/readyz").body)
        self.assertEqual((0, ""), (server.stop().code, server.stderr))

    def test_grace(self) -> None:
        """After the signal it says that it is not ready as long as something is under way, and then it is gone."""
        server = self.watched("--grace=20")
        sender = Sender(server.address)
        first, *rest = c_store()
        sender.send(first)
        wait_until(lambda: self.value("storescp_associations_open") == 1, "the association")
        server.signal(15)
        wait_until(lambda: self.get("/readyz").body == b"not ready: it stops\n", "the stop")
        self.assertEqual(b"alive\n", self.get("/healthz").body)
        watcher = self.connect()
        watcher.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        hear(watcher, b"\n\n")
        sender.send(*rest)
        self.assertEqual(0, sender.status())
        sender.close()
        ended = server.ended()
        aborted = "E: Association Aborted: this server stops (TESTSCU at PEER)\n"
        self.assertEqual((0, aborted), (ended.code, without_addresses(ended.stderr)))
        self.assertRaises(ConnectionRefusedError, self.connect)
