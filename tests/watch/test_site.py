# mypy: allow-untyped-calls
"""The port for browsers and probes, in memory: what is answered, to how many, and how little is kept of anybody."""

import errno
import gc
import http.client
import os
import tempfile
import tracemalloc
from functools import partial
from io import BytesIO
from typing import Any, NoReturn, cast

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from storescp.watch import site
from storescp.watch.site import Connections, Events, Metrics, Readiness, site_for
from tests.senders import ASSOCIATE_RQ
from tests.servers import ROOT

PAGE = ROOT / "storescp" / "watch" / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
TEXT = "text/plain; charset=utf-8"

# What keeps a browser from doing more with an answer than to show it, and anybody from keeping it.
GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
OTHER_METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "FOO")
UNKNOWN_PATHS = (
    *("/nothing", "//", "/index.html", "/METRICS", "/../style.css", "/%2e%2e/style.css", "/page/index.html"),
    *("/healthz/x", "/readyz/x", "/events/x", "/style.css/x", "/healthz/", "/%00", "/%ff"),
)
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
FIRST = b"retry: 1000\ndata: {}\n\n"  # of the events, where nothing has happened
LENGTH = 10_000  # seconds after which nobody is waited for any more
TOO_MANY = 64


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]  # without those of every answer of Twisted's, and of the transport
    body: bytes


class _Kept(BytesIO):
    def close(self) -> None:
        """It may be read on."""

    def makefile(self, _mode: str) -> "_Kept":
        return self


def answers(data: bytes, *methods: str) -> list[Answer]:
    """What the answers to requests of these methods, one behind the other, say; all of `data` belongs to them."""
    stream = _Kept(data)
    found = []
    for method in methods:
        response = http.client.HTTPResponse(cast(Any, stream), method=method)
        response.begin()
        body = response.read()
        left_out = ("server", "date", "content-length", "transfer-encoding", "connection")
        headers = {name: value for name, value in response.getheaders() if name.lower() not in left_out}
        found.append(Answer(response.status, headers, body))
    rest = stream.read()
    if rest:
        raise AssertionError(f"more than the answers: {rest!r}")
    return found


class Visitor:
    """The other end of a connection. It speaks in bytes."""

    def __init__(self, site: Connections) -> None:
        self.transport = StringTransport()
        self.protocol = site.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    def say(self, data: bytes) -> bytes:
        self.protocol.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What has come since it was asked last."""
        data = bytes(self.transport.value())
        self.transport.clear()
        return data

    def ask(self, path: str, method: str = "GET", headers: str = "") -> bytes:
        return self.say(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1"))

    def get(self, path: str, method: str = "GET") -> Answer:
        (answer,) = answers(self.ask(path, method), method)
        return answer

    def watch(self) -> bytes:
        """Ask for events as HTTP/1.0, which has no chunks; what has come behind the headers."""
        return self.say(b"GET /events HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2]

    @property
    def closed(self) -> bool:
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionLost()))


class SiteTestCase(SynchronousTestCase):
    """A site whose hindrance, probe and latest event a test sets; at its end no delayed call is left."""

    REQUESTS = 1_000_000  # that are answered in a second

    def setUp(self) -> None:
        self.patch(site, "REQUESTS", self.REQUESTS)
        self.clock = Clock()
        self.hindrance = ""
        self.probes = 0
        self.probed: Deferred[Any] | None = None  # what the next probe returns
        self.error: Exception | None = None
        self.latest = b"{}"
        self.asked = 0  # how often for the latest
        self.visitors: list[Visitor] = []
        self.events = Events(self._latest)
        self.exposed: Deferred[bytes] = succeed(b"# metrics\n")
        self.exposures = 0
        self.site = self._site(Readiness(self.clock, lambda: self.hindrance, self._probe))
        self.addCleanup(self._nothing_left)

    def _site(self, readiness: Readiness) -> Connections:
        return site_for(self.clock, self.events, readiness, Metrics("text/plain", self._expose))

    def _expose(self) -> "Deferred[bytes]":
        self.exposures += 1
        return self.exposed

    def _latest(self) -> bytes:
        self.asked += 1
        return self.latest

    def _probe(self) -> "Deferred[Any]":
        self.probes += 1
        if self.error:
            return fail(self.error)
        return self.probed or succeed(None)

    def _nothing_left(self) -> None:
        for visitor in self.visitors:
            visitor.leave()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.flushLoggedErrors())

    def visitor(self) -> Visitor:
        self.visitors.append(Visitor(self.site))
        return self.visitors[-1]

    def leave(self, visitor: Visitor) -> None:
        self.visitors.remove(visitor)
        visitor.leave()


class AnswerTests(SiteTestCase):
    """What is where, and that there is nothing else."""

    def test_files(self) -> None:
        """The page and what belongs to it are served as they are, by a policy that lets it load nothing else."""
        for path, (name, content_type) in FILES.items():
            expected = Answer(200, {"Content-Type": content_type, **GUARDS}, (PAGE / name).read_bytes())
            self.assertEqual(expected, self.visitor().get(path), path)
            self.assertEqual(expected, self.visitor().get(f"{path}?a=1&a=%ff"), path)

    def test_alive(self) -> None:
        """The reactor says that it is alive, whatever is the matter with the disk."""
        self.hindrance, self.error = "the storage does not work", OSError(5, "Input/output error")
        self.assertEqual(Answer(200, {"Content-Type": TEXT, **GUARDS}, b"alive\n"), self.visitor().get("/healthz"))

    def test_head(self) -> None:
        """HEAD is answered as GET is, without a body, and on time."""
        for path in (*FILES, "/healthz", "/readyz", "/events"):
            answer = self.visitor().get(path, "HEAD")
            self.assertEqual((200, b""), (answer.status, answer.body), path)
            self.assertEqual(GUARDS, {name: answer.headers[name] for name in GUARDS}, path)
        self.assertFalse(self.events.watched)  # who does not want events takes nobody's place

    def test_not_ready_head(self) -> None:
        """Who asks by HEAD learns by the code whether it is ready."""
        self.hindrance = "it does not listen"
        self.assertEqual(503, self.visitor().get("/readyz", "HEAD").status)

    def test_nothing_can_be_changed(self) -> None:
        """Every other method is refused wherever there is something to see, and nothing is probed or sent for it."""
        for path in (*FILES, "/healthz", "/readyz", "/events"):
            for method in OTHER_METHODS:
                answer = self.visitor().get(path, method)
                self.assertEqual((405, ["GET", "HEAD"]), (answer.status, self.allowed(answer)), (method, path))
                self.leave(self.visitors[-1])
        self.assertEqual((0, 0), (self.probes, self.asked))

    def allowed(self, answer: Answer) -> list[str]:
        return sorted(answer.headers.get("Allow", "").replace(" ", "").split(","))

    def test_server_itself(self) -> None:
        """The same of ``*``, which is the whole server."""
        for method in OTHER_METHODS:
            answer = self.visitor().get("*", method)
            self.assertIn(answer.status, (404, 405), method)
            self.leave(self.visitors[-1])

    def test_unknown(self) -> None:
        """Everything else is not there, not even below what is."""
        for path in UNKNOWN_PATHS:
            for method in ("GET", "HEAD"):
                self.assertEqual(404, self.visitor().get(path, method).status, path)
                self.leave(self.visitors[-1])
            self.assertIn(self.visitor().get(path, "POST").status, (404, 405), path)
            self.leave(self.visitors[-1])

    def test_no_echo(self) -> None:
        """What was asked for is not shown as a part of a page."""
        for path in ("/<script>", "/style.css?<script>", "/<script>/style.css"):
            for method in ("GET", "POST"):
                self.assertNotIn(b"<script>", self.visitor().ask(path, method), path)
                self.leave(self.visitors[-1])


class HostTests(SiteTestCase):
    """By which name it is asked, where only this machine can reach it."""

    MISDIRECTED = Answer(421, {"Content-Type": TEXT, **GUARDS}, b"ask for localhost, or an address\n")

    def ask(self, host: str | None, path: str = "/healthz") -> Answer:
        visitor = self.visitor()
        line = "" if host is None else f"Host: {host}\r\n"
        (answer,) = answers(visitor.say(f"GET {path} HTTP/1.1\r\n{line}\r\n".encode("latin-1")), "GET")
        self.leave(visitor)
        return answer

    def test_own(self) -> None:
        """The names that nobody else can give away are right, and none at all is."""
        self.site.is_nearby = True
        hosts = ("localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "10.1.2.3", "")
        for host in (*hosts, None):
            self.assertEqual(b"alive\n", self.ask(host).body, host)

    def test_of_others(self) -> None:
        """Any other may be one that somebody has made to mean this machine: nothing is shown, probed or sent."""
        self.site.is_nearby = True
        hosts = ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "a:b:c", "[")
        for host in (*hosts, "\xff", "localhost\xff"):  # the last ones are no UTF-8
            for path in (*FILES, "/healthz", "/readyz", "/events", "/metrics", "/nothing"):
                self.assertEqual(self.MISDIRECTED, self.ask(host, path), (host, path))
        self.assertEqual((0, 0), (self.probes, self.asked))

    def test_far(self) -> None:
        """Where others can reach it, by whatever name, any is right."""
        for host in ("evil.example", "archive.hospital.example:8080", "localhost"):
            self.assertEqual(b"alive\n", self.ask(host).body, host)


class ReadyTests(SiteTestCase):
    """Whether instances would be taken: nothing stands in the way, and the disk has just taken a probe."""

    READY = Answer(200, {"Content-Type": TEXT, **GUARDS}, b"ready\n")

    def not_ready(self, reason: str) -> Answer:
        return Answer(503, {"Content-Type": TEXT, **GUARDS}, f"not ready: {reason}\n".encode())

    def test_ready(self) -> None:
        """It is, and each time it is found out anew."""
        self.assertEqual([self.READY] * 3, [self.visitor().get("/readyz") for _ in range(3)])
        self.assertEqual(3, self.probes)

    def test_hindrance(self) -> None:
        """Where something is known to stand in the way, that is said, and the disk is not asked."""
        for hindrance in ("it does not listen", "the storage does not work"):
            self.hindrance = hindrance
            self.assertEqual(self.not_ready(hindrance), self.visitor().get("/readyz"))
        self.assertEqual(0, self.probes)

    def test_disk(self) -> None:
        """What the disk has against it is said in the words of the system, or in those of the error."""
        for code in (errno.ENOSPC, errno.EROFS, errno.EIO):
            self.error = OSError(code, os.strerror(code), "/somewhere")
            self.assertEqual(self.not_ready(os.strerror(code)), self.visitor().get("/readyz"))
        self.error = RuntimeError("the storage is not started")
        self.assertEqual(self.not_ready("the storage is not started"), self.visitor().get("/readyz"))
        self.error = None
        self.assertEqual(self.READY, self.visitor().get("/readyz"))

    def test_waits(self) -> None:
        """Nothing is said before the probe has succeeded, and it succeeds or fails for all who wait for it."""
        for result, expected in ((None, self.READY), (OSError(28, "No space left"), self.not_ready("No space left"))):
            self.probed = Deferred()
            self.probes = 0
            visitors = [self.visitor() for _ in range(20)]
            self.assertEqual([b""] * 20, [visitor.ask("/readyz") for visitor in visitors])
            self.assertEqual(1, self.probes)
            self.probed.callback(None) if result is None else self.probed.errback(result)
            self.assertEqual([[expected]] * 20, [answers(visitor.heard(), "GET") for visitor in visitors])
            for visitor in visitors:
                self.leave(visitor)

    def test_hangs(self) -> None:
        """A disk that does not answer within five seconds is not ready; nobody asks it again before it has."""
        self.probed = Deferred()
        first, second = self.visitor(), self.visitor()
        first.ask("/readyz")
        self.clock.advance(3)
        second.ask("/readyz")
        self.clock.advance(1.9)
        self.assertEqual((b"", b""), (first.heard(), second.heard()))
        self.clock.advance(0.1)
        hung = self.not_ready("the disk has not answered for 5 s")
        self.assertEqual(([hung], b""), (answers(first.heard(), "GET"), second.heard()))
        self.clock.advance(3)
        self.assertEqual([hung], answers(second.heard(), "GET"))
        first.ask("/readyz")
        self.clock.advance(5)
        self.assertEqual(([hung], 1), (answers(first.heard(), "GET"), self.probes))
        first.ask("/readyz")
        self.probed.callback(None)  # it was for all who wait
        self.assertEqual([self.READY], answers(first.heard(), "GET"))
        self.probed = None
        self.assertEqual((self.READY, 2), (second.get("/readyz"), self.probes))

    def test_gone(self) -> None:
        """Who leaves meanwhile harms nobody, and a probe that ends, well or not, when all have left is no error."""
        for end in (None, OSError(5, "Input/output error")):
            self.probed = Deferred()
            left, stayed = self.visitor(), self.visitor()
            left.ask("/readyz")
            stayed.ask("/readyz")
            self.leave(left)
            self.probed.callback(None) if end is None else self.probed.errback(end)
            self.assertEqual(1, len(answers(stayed.heard(), "GET")))
            self.probed = Deferred()
            stayed.ask("/readyz")
            self.leave(stayed)
            self.probed.callback(None) if end is None else self.probed.errback(end)
            self.assertEqual([], self.flushLoggedErrors())
        self.probed = None
        self.assertEqual(self.READY, self.visitor().get("/readyz"))

    def test_crowd_before_a_hung_disk(self) -> None:
        """However many ask in vain while a disk hangs, and wait or leave, nothing is kept of them."""
        self.probed = Deferred()

        def come_and_go() -> int:
            for number in range(300):
                visitor = self.visitor()
                visitor.ask("/readyz")
                if number % 2:
                    self.clock.advance(5)
                self.leave(visitor)
            gc.collect()
            return sum(isinstance(each, Deferred) for each in gc.get_objects())

        come_and_go()
        before = come_and_go()
        self.assertLess(come_and_go() - before, 50)
        self.probed.callback(None)

    def test_probe_that_raises(self) -> None:
        """A probe of somebody else's that raises is a disk that is not ready, that time."""

        def raising() -> NoReturn:
            raise ZeroDivisionError("division by zero")

        self.patch(self, "_probe", raising)
        self.site = self._site(Readiness(self.clock, lambda: "", self._probe))
        for _ in range(2):
            self.assertEqual(self.not_ready("division by zero"), self.visitor().get("/readyz"))


class MetricsTests(SiteTestCase):
    """Metrics, which are made elsewhere."""

    def test_together(self) -> None:
        """They are made once for all who ask meanwhile, and anew for who asks later."""
        exposed: Deferred[bytes] = Deferred()
        self.exposed = exposed
        visitors = [self.visitor() for _ in range(3)]
        self.assertEqual([b""] * 3, [visitor.ask("/metrics") for visitor in visitors])
        exposed.callback(b"# metrics\n")
        for visitor in visitors:
            (answer,) = answers(visitor.heard(), "GET")
            self.assertEqual((200, b"# metrics\n"), (answer.status, answer.body))
        self.exposed = succeed(b"# others\n")
        self.assertEqual((b"# others\n", 2), (self.visitor().get("/metrics").body, self.exposures))

    def test_failed(self) -> None:
        """Where they cannot be made, the answer is 500, and the log says why."""
        self.exposed = fail(ZeroDivisionError("division by zero"))
        self.assertEqual(500, self.visitor().get("/metrics").status)
        (failure,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual("division by zero", failure.getErrorMessage())

    def test_gone(self) -> None:
        """Who leaves meanwhile is not answered, the others are, and nobody hears of it."""
        exposed: Deferred[bytes] = Deferred()
        self.exposed = exposed
        leaving, staying = self.visitor(), self.visitor()
        self.assertEqual([b"", b""], [visitor.ask("/metrics") for visitor in (leaving, staying)])
        leaving.leave()
        self.visitors.remove(leaving)
        exposed.callback(b"# metrics\n")
        (answer,) = answers(staying.heard(), "GET")
        self.assertEqual((200, b"# metrics\n"), (answer.status, answer.body))


class _Asked:
    def notifyFinish(self) -> "Deferred[None]":
        return Deferred()


class PaceTests(SiteTestCase):
    """How many requests are answered in a second."""

    REQUESTS = 20
    ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def test_most(self) -> None:
        """So many are answered at once, the next ones in the next second, in their order."""
        visitors = [self.visitor() for _ in range(50)]
        self.assertEqual([True] * 20 + [False] * 30, [bool(visitor.say(self.ASK)) for visitor in visitors])
        for answered in ([False] * 20 + [True] * 20 + [False] * 10, [False] * 40 + [True] * 10):
            self.site.next_second()
            self.assertEqual(answered, [bool(visitor.heard()) for visitor in visitors])

    def test_pipelined(self) -> None:
        """Who sends many at once gets no more of them answered."""
        visitor = self.visitor()
        counts = [visitor.say(self.ASK * 50).count(b"alive")]
        for _ in range(3):
            self.site.next_second()
            counts.append(visitor.heard().count(b"alive"))
        self.assertEqual([20, 20, 10, 0], counts)

    def test_fails(self) -> None:
        """Where one cannot be answered, the next ones are, in this second and in those to come."""
        pace = site.Pace()
        answered: list[str] = []

        def fails() -> None:
            raise ZeroDivisionError

        for number in range(22):
            pace.take(cast(Any, _Asked()), fails if number == 20 else partial(answered.append, str(number)))
        pace.next_second()
        self.assertEqual([*map(str, range(20)), "21"], answered)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_gone(self) -> None:
        """Who leaves before his turn is forgotten."""
        visitors = [self.visitor() for _ in range(22)]
        for visitor in visitors:
            visitor.say(self.ASK)
        visitors[20].leave()
        self.visitors.remove(visitors[20])
        self.site.next_second()
        self.assertEqual([False, True], [bool(visitor.heard()) for visitor in visitors[20:]])


class EventTests(SiteTestCase):
    """Server-sent events, to a few who watch."""

    def test_first(self) -> None:
        """Who comes is told the latest at once, in the form that EventSource knows."""
        self.latest = b'{"now":1}'
        heard = self.visitor().ask("/events")
        head, _, body = heard.partition(b"\r\n\r\n")
        self.assertEqual(b'1d\r\nretry: 1000\ndata: {"now":1}\n\n\r\n', body)
        self.assertIn(b"\r\nTransfer-Encoding: chunked", head)
        (answer,) = answers(head + b"\r\n\r\n" + body + b"0\r\n\r\n", "GET")
        headers = {"Content-Type": "text/event-stream", **GUARDS}
        self.assertEqual(Answer(200, headers, b'retry: 1000\ndata: {"now":1}\n\n'), answer)

    def test_each(self) -> None:
        """What is sent then goes to all who watch, each time the latest, which is asked for once."""
        watchers = [self.visitor() for _ in range(3)]
        self.assertEqual([FIRST] * 3, [watcher.watch() for watcher in watchers])
        self.asked = 0
        for latest in (b"1", b"2"):
            self.latest = latest
            self.events.send()
            self.assertEqual([b"data: " + latest + b"\n\n"] * 3, [watcher.heard() for watcher in watchers])
        self.assertEqual(2, self.asked)

    def test_nobody(self) -> None:
        """Where nobody watches nothing is asked for."""
        self.events.send()
        self.assertEqual((False, 0), (self.events.watched, self.asked))

    def test_most(self) -> None:
        """The seventeenth is told that there are sixteen, and let in when one of them has gone."""
        watchers = [self.visitor() for _ in range(16)]
        self.assertEqual([FIRST] * 16, [watcher.watch() for watcher in watchers])
        late = self.visitor()
        full = Answer(503, {"Content-Type": TEXT, **GUARDS}, b"16 pages are open already\n")
        self.assertEqual([full] * 2, [late.get("/events") for _ in range(2)])
        self.leave(watchers[7])
        self.assertEqual(FIRST, late.watch())
        self.assertEqual(full, self.visitor().get("/events"))

    def test_forgotten(self) -> None:
        """Who has gone is forgotten, and is not written to."""
        watchers = [self.visitor() for _ in range(3)]
        for watcher in watchers:
            watcher.watch()
        for watcher in watchers[:2]:
            self.leave(watcher)
        self.events.send()
        self.assertEqual([b"", b"", b"data: {}\n\n"], [watcher.heard() for watcher in watchers])
        self.leave(watchers[2])
        self.assertFalse(self.events.watched)

    def test_does_not_read(self) -> None:
        """For one that does not read nothing is kept; when it reads again it gets what is the latest then."""
        slow, quick = self.visitor(), self.visitor()
        slow.watch()
        quick.watch()
        producer = cast(Any, slow.transport.producer)
        for _ in range(2):
            producer.pauseProducing()
            for number in range(1000):
                self.latest = b"%d" % number
                self.events.send()
            self.assertEqual((b"", 1000), (slow.heard(), quick.heard().count(b"data: ")))
            producer.resumeProducing()
            self.assertEqual(b"", slow.heard())
            self.latest = b"last"
            self.events.send()
            self.assertEqual([b"data: last\n\n"] * 2, [slow.heard(), quick.heard()])

    def test_goes_unread(self) -> None:
        """One that goes without having read is forgotten, too."""
        visitor = self.visitor()
        visitor.watch()
        producer = cast(Any, visitor.transport.producer)
        producer.pauseProducing()
        producer.stopProducing()
        self.leave(visitor)
        self.events.send()
        self.assertEqual((False, b""), (self.events.watched, visitor.heard()))

    def test_stays(self) -> None:
        """Who watches is not taken for idle."""
        visitor = self.visitor()
        visitor.watch()
        self.clock.advance(LENGTH)
        self.events.send()
        self.assertEqual((False, b"data: {}\n\n"), (visitor.closed, visitor.heard()))

    def test_more_behind(self) -> None:
        """What a watcher asks for beside is never answered, and little of it is kept."""
        visitor = self.visitor()
        visitor.watch()
        for _ in range(100):
            if visitor.transport.producerState == "producing":
                self.assertEqual(b"", visitor.say(ALIVE * 20))
        self.assertEqual("paused", visitor.transport.producerState)


class ConnectionTests(SiteTestCase):
    """Whoever comes, and whatever he sends."""

    def test_pieces(self) -> None:
        """A request may come byte by byte."""
        visitor = self.visitor()
        heard = [visitor.say(ALIVE[place : place + 1]) for place in range(len(ALIVE))]
        self.assertEqual([b""] * (len(ALIVE) - 1), heard[:-1])
        self.assertEqual(b"alive\n", answers(heard[-1], "GET")[0].body)

    def test_pipelined(self) -> None:
        """Requests may come together; they are answered in their order, also where one has to wait."""
        self.probed = Deferred()
        visitor = self.visitor()
        ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        heard = visitor.say(ALIVE + ready + ALIVE + b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + ALIVE)
        self.assertEqual([b"alive\n"], [each.body for each in answers(heard, "GET")])
        self.probed.callback(None)
        bodies = [each.body for each in answers(visitor.heard(), "GET", "GET", "HEAD", "GET")]
        self.assertEqual([b"ready\n", b"alive\n", b"", b"alive\n"], bodies)

    def test_old(self) -> None:
        """HTTP/1.0 is understood: one answer without chunks, and the end."""
        for path, body in ((b"/healthz", b"alive\n"), (b"/readyz", b"ready\n")):
            visitor = self.visitor()
            heard = visitor.say(b"GET " + path + b" HTTP/1.0\r\n\r\n")
            self.assertTrue(heard.startswith(b"HTTP/1.0 200 OK\r\n"), heard)
            self.assertNotIn(b"chunked", heard)
            self.assertEqual((body, True), (heard.partition(b"\r\n\r\n")[2], visitor.closed))

    def test_last(self) -> None:
        """Who asks for the end of the connection gets it."""
        visitor = self.visitor()
        visitor.ask("/healthz", headers="Connection: close\r\n")
        self.assertTrue(visitor.closed)

    def test_no_http(self) -> None:
        """What is no HTTP is told so, or not at all, and the connection ends; no error of ours."""
        for data in (b"GET\r\n\r\n", b"GET /\r\n\r\n", b"\0\1\2\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
            visitor = self.visitor()
            self.assertEqual((b"HTTP/1.1 400 Bad Request\r\n\r\n", True), (visitor.say(data), visitor.closed), data)

    def test_dicom(self) -> None:
        """An A-ASSOCIATE-RQ is no request: nothing is said, and the connection does not stay."""
        visitor = self.visitor()
        visitor.say(ASSOCIATE_RQ)
        self.clock.advance(60)
        self.assertTrue(visitor.closed)

    def test_too_long(self) -> None:
        """A request line, a header, or headers that are too long end the connection, whether or not they end."""
        for data in (
            *(b"GET /" + b"x" * 17000, b"GET /" + b"x" * 17000 + b" HTTP/1.1\r\n\r\n"),
            *(b"GET / HTTP/1.1\r\nX: " + b"x" * 17000, b"GET / HTTP/1.1\r\nX: " + b"x" * 17000 + b"\r\n\r\n"),
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 501 + b"\r\n",
            b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: %s\r\n" % (each, b"y" * 400) for each in range(60)) + b"\r\n",
            b"x" * 100_000,
        ):
            visitor = self.visitor()
            heard = visitor.say(data)
            self.assertEqual((True, True), (visitor.closed, heard in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")))

    def test_two_lengths(self) -> None:
        """A request of which it is not clear where it ends is refused."""
        for headers in (
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: x\r\n",
        ):
            visitor = self.visitor()
            heard = visitor.ask("/", "GET", headers)
            self.assertEqual((b"HTTP/1.1 400 Bad Request\r\n\r\n", True), (heard, visitor.closed), headers)

    def test_silent(self) -> None:
        """Who says nothing, or no more, for a minute is hung up on; and by force where that does not help."""
        for data in (
            b"",
            b"GET / HT",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\nabc",
            ALIVE,
        ):
            visitor = self.visitor()
            visitor.say(data)
            self.clock.advance(59.9)
            self.assertEqual(False, visitor.closed)
            self.clock.advance(0.1)
            self.assertEqual((True, False), (visitor.closed, visitor.transport.disconnected))
            self.clock.advance(15)
            self.assertTrue(visitor.transport.disconnected)
            self.leave(visitor)

    def test_body(self) -> None:
        """A body of any length, told before or in chunks, is kept nowhere: not in memory, and not on the disk."""

        def no_file(*_args: object, **_kwargs: object) -> NoReturn:
            raise AssertionError("a temporary file")

        self.patch(tempfile, "TemporaryFile", no_file)
        piece = b"x" * 65536
        for method, content_type, status in (
            *(("GET", "text/plain", 200), ("POST", "text/plain", 405)),
            *(("POST", "multipart/form-data; boundary=x", 405), ("POST", "application/x-www-form-urlencoded", 405)),
        ):
            for length, before, after, end in (
                (f"Content-Length: {100 * len(piece)}", b"", b"", b""),
                ("Transfer-Encoding: chunked", b"10000\r\n", b"\r\n", b"0\r\n\r\n"),
            ):
                visitor = self.visitor()
                visitor.ask("/healthz", method, f"{length}\r\nContent-Type: {content_type}\r\n")
                tracemalloc.start()
                for _ in range(99):
                    self.assertEqual(b"", visitor.say(before + piece + after))
                kept, most = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                self.assertLess(kept, 100_000)
                self.assertLess(most, 500_000)
                (answer,) = answers(visitor.say(before + piece + after + end), method)
                self.assertEqual(status, answer.status, (method, length, content_type))
                self.assertEqual(b"alive\n", visitor.get("/healthz").body)

    def test_body_of_100_mb(self) -> None:
        """Who has claimed 100 MB and leaves in the middle of it harms nobody."""
        visitor = self.visitor()
        self.assertEqual(b"", visitor.ask("/", "POST", "Content-Length: 100000000\r\n"))
        self.assertEqual(b"", visitor.say(bytes(1_000_000)))
        self.leave(visitor)
        self.assertEqual(200, self.visitor().get("/healthz").status)

    def test_most(self) -> None:
        """Where more than 64 come the oldest goes, whatever it is doing, so that one more always gets in."""
        visitors = [self.visitor() for _ in range(TOO_MANY)]
        self.assertEqual([200] * TOO_MANY, [visitor.get("/healthz").status for visitor in visitors])
        visitors[0].watch()
        visitors += [self.visitor() for _ in range(3)]  # and none of the three is lost yet
        self.assertEqual([True] * 3 + [False] * TOO_MANY, [visitor.closed for visitor in visitors])
        self.assertEqual([200] * TOO_MANY, [visitor.get("/healthz").status for visitor in visitors[3:]])
        for visitor in visitors[:3]:
            self.leave(visitor)
        self.assertFalse(self.events.watched)
        self.leave(visitors[10])
        self.assertEqual(200, self.visitor().get("/healthz").status)
        self.assertEqual([False] * TOO_MANY, [visitor.closed for visitor in self.visitors])

    def test_close(self) -> None:
        """The end of all connections does not wait for anybody."""
        self.probed = Deferred()
        visitors = [self.visitor() for _ in range(4)]
        visitors[1].watch()
        visitors[2].ask("/readyz")
        visitors[3].say(b"GET / HT")
        self.site.close()
        self.assertEqual([True] * 4, [visitor.transport.disconnected for visitor in visitors])
        for visitor in visitors:
            self.leave(visitor)
        self.assertFalse(self.events.watched)
        self.probed.callback(None)

    def test_quiet(self) -> None:
        """Who comes and looks is no line of the log, nor are its comings and goings."""
        self.assertEqual((False, False), (self.site.noisy, cast(Any, self.site.wrappedFactory).noisy))
        self.assertFalse(cast(Any, self.site.wrappedFactory).displayTracebacks)
