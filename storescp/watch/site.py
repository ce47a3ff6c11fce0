"""site_for: what a browser, Prometheus and whoever supervises a service may look at. There is nothing to be changed.

What is bounded: connections, watchers, what is kept of a request, and what waits for a watcher that does not read.
"""

import re
from collections.abc import Callable
from importlib.resources import files
from io import BytesIO
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from storescp.storage.health import fault_of

_log = Logger()

CONNECTIONS = 64
WATCHERS = 16
REQUESTS = 20  # a second: metrics and probes, which are what takes time, are then a tenth of it at most
IDLE = 60.0  # seconds that a connection is kept for the next request
PROBE = 5.0  # seconds that a disk has to take a probe

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = {
    b"": ("index.html", "text/html; charset=utf-8"),
    b"style.css": ("style.css", "text/css; charset=utf-8"),
    b"script.js": ("script.js", "text/javascript; charset=utf-8"),
    b"icon.svg": ("icon.svg", "image/svg+xml"),
}
_RETRY = b"retry: 1000\n"  # milliseconds until a browser comes again
_TEXT = "text/plain; charset=utf-8"

_PORT = re.compile(r":\d*$")

Probe = Callable[[], "Deferred[Any]"]


class _File(Resource):
    def __init__(self, name: str, content_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._content = (files("storescp.watch") / "page" / name).read_bytes()
        self._type = content_type

    def render_GET(self, request: Request) -> bytes:
        return _answer(request, 200, self._content, self._type)


class _Healthy(Resource):
    """Whether the reactor is alive: it answers."""

    def render_GET(self, request: Request) -> bytes:
        return _answer(request, 200, b"alive\n")


class Readiness(Resource):
    """Whether instances would be taken: `hindrance` is empty, and `probe` succeeds in time.

    One probe is under way at a time, whoever asks; each who does waits for it.
    """

    def __init__(self, clock: IReactorTime, hindrance: Callable[[], str], probe: Probe) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._hindrance = hindrance
        self._probe = probe
        self._probing = False
        self._waiting: set[Deferred[str]] = set()

    def render_GET(self, request: Request) -> bytes | int:
        hindrance = self._hindrance()
        if hindrance:
            return _ready(request, hindrance)
        probed: Deferred[str] = Deferred()
        probed.addTimeout(PROBE, self._clock, lambda _result, seconds: f"the disk has not answered for {seconds:g} s")
        probed.addBoth(self._no_longer, probed)
        gone = request.notifyFinish()
        gone.addErrback(lambda _failure: probed.cancel())
        probed.addCallbacks(lambda hindrance: _finish(request, _ready(request, hindrance)), lambda _cancelled: None)
        self._waiting.add(probed)
        self._find_out()
        return NOT_DONE_YET

    def _find_out(self) -> None:
        if not self._probing:
            self._probing = True
            probing = maybeDeferred(self._probe)
            probing.addCallbacks(lambda _result: "", fault_of).addCallback(self._found)

    def _found(self, hindrance: str) -> None:
        self._probing = False
        for each in list(self._waiting):
            each.callback(hindrance)

    def _no_longer(self, result: Any, probed: "Deferred[str]") -> Any:
        self._waiting.discard(probed)
        return result


def _ready(request: Request, hindrance: str) -> bytes:
    if hindrance:
        return _answer(request, 503, f"not ready: {hindrance}\n".encode())
    return _answer(request, 200, b"ready\n")


class Metrics(Resource):
    """A text that `expose` makes, on another thread; it is made for all who wait for it at a time."""

    def __init__(self, content_type: str, expose: "Callable[[], Deferred[bytes]]") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._type = content_type
        self._expose = expose
        self._waiting: dict[Request, None] = {}

    def render_GET(self, request: Request) -> int:
        is_first = not self._waiting
        self._waiting[request] = None
        request.notifyFinish().addErrback(lambda _gone: self._waiting.pop(request, None))
        if is_first:
            maybeDeferred(self._expose).addCallbacks(self._exposed, self._failed)
        return NOT_DONE_YET

    def _exposed(self, text: bytes) -> None:
        self._answer(200, text, self._type)

    def _failed(self, failure: Failure) -> None:
        _log.failure("The metrics could not be made", failure=failure)
        self._answer(500, b"the log says why\n", _TEXT)

    def _answer(self, code: int, body: bytes, content_type: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for request in waiting:
            _finish(request, _answer(request, code, body, content_type))


@implementer(IPushProducer)
class _Watcher:
    """Who is sent events. One that does not read misses them: nothing is kept for it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._reads = True
        request.registerProducer(self, True)

    def send(self, event: bytes) -> None:
        if self._reads:
            self._request.write(event)

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        self._reads = True

    def stopProducing(self) -> None:
        self._reads = False


class Events(Resource):
    """Server-sent events: whoever watches gets `latest` at once, and then each that is sent."""

    def __init__(self, latest: Callable[[], bytes]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._latest = latest
        self._watchers: set[_Watcher] = set()

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def render_GET(self, request: Request) -> bytes | int:
        if len(self._watchers) >= WATCHERS:
            return _answer(request, 503, f"{WATCHERS} pages are open already\n".encode())
        _prepare(request, 200, "text/event-stream")
        if request.method == b"HEAD":
            return b""
        watcher = _Watcher(request)
        self._watchers.add(watcher)
        gone = request.notifyFinish()
        gone.addBoth(lambda _result: self._watchers.discard(watcher))
        watcher.send(_RETRY + _event(self._latest()))
        return NOT_DONE_YET

    def send(self) -> None:
        """Give everybody the latest."""
        if self._watchers:
            event = _event(self._latest())
            for watcher in list(self._watchers):
                watcher.send(event)


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _prepare(request: Request, code: int, content_type: str) -> None:
    request.setResponseCode(code)
    request.setHeader("Content-Type", content_type)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)


def _answer(request: Request, code: int, body: bytes, content_type: str = _TEXT) -> bytes:
    _prepare(request, code, content_type)
    if request.method != b"HEAD":
        return body
    request.setHeader("Content-Length", str(len(body)))
    return b""


def _finish(request: Request, body: bytes) -> None:
    request.write(body)
    request.finish()


def _is_address(host: str) -> bool:
    """Whether a Host header has no name that somebody else could have given to this machine."""
    name = host.rpartition(":")[0] if _PORT.search(host) else host
    try:
        return name in ("", "localhost") or bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


class Pace:
    """So many requests a second are answered at once; others wait for the next second, and go with their connection."""

    def __init__(self) -> None:
        self._left = REQUESTS
        self._waiting: dict[Request, Callable[[], None]] = {}

    def take(self, request: Request, answer: Callable[[], None]) -> None:
        if self._left:
            self._left -= 1
            answer()
        else:
            self._waiting[request] = answer
            request.notifyFinish().addErrback(lambda _gone: self._waiting.pop(request, None))

    def next_second(self) -> None:
        self._left = REQUESTS
        waiting, self._waiting = self._waiting, {}
        for request, answer in waiting.items():
            try:
                self.take(request, answer)
            except Exception:  # the others are answered all the same, and in the next second, too
                _log.failure("A request could not be answered: this is a mistake in storescp")


class _Request(Request):
    """One whose body, which means nothing here, is kept nowhere: Twisted's own keeps a long one on the disk."""

    def process(self) -> None:
        channel: Any = self.channel
        channel.site.pace.take(self, self._process)

    def _process(self) -> None:
        channel: Any = self.channel
        # What only this machine can reach, a web page of anywhere could read with its browser, by a name of its own
        # that suddenly means this machine.
        host = (self.getHeader(b"host") or b"").decode("latin-1")
        if channel.site.is_nearby and not _is_address(host):
            _finish(self, _answer(self, 421, b"ask for localhost, or an address\n"))
        elif self.method not in (b"GET", b"HEAD") or self.path == b"*":
            self.setHeader("Allow", "GET, HEAD")  # type: ignore[no-untyped-call]
            _finish(self, _answer(self, 405, b"there is nothing to be changed here\n"))
        else:
            super().process()  # type: ignore[no-untyped-call]

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _Site(Site):
    is_nearby = False  # only this machine can reach it, by TCP
    pace: Pace
    requestFactory = _Request
    displayTracebacks = False
    noisy = False

    def log(self, request: Any) -> None:
        """Who looks is not worth a line."""


class _Connection(ProtocolWrapper):
    evicted = False

    def evict(self) -> None:
        self.evicted = True
        transport: Any = self.transport
        transport.abortConnection()


class Connections(WrappingFactory):
    """At most so many at a time, and an end to all of them."""

    protocol = _Connection
    noisy = False

    def logPrefix(self) -> str:
        return "HTTP"

    @property
    def is_nearby(self) -> bool:
        """Whether only this machine can reach it, by TCP; who asks must call it by no other name then."""
        return self._site.is_nearby

    @is_nearby.setter
    def is_nearby(self, nearby: bool) -> None:
        self._site.is_nearby = nearby

    def next_second(self) -> None:
        """To be called each second, for those who wait for their turn."""
        self._site.pace.next_second()

    @property
    def _site(self) -> _Site:
        site: _Site = self.wrappedFactory
        return site

    def buildProtocol(self, addr: IAddress | None) -> Any:
        # Who supervises a server must get in, however many connections others hold open: the oldest goes.
        staying = [each for each in self.protocols if not each.evicted]
        if len(staying) >= CONNECTIONS:
            staying[0].evict()
        return super().buildProtocol(addr)

    def close(self) -> None:
        for connection in list(self.protocols):
            connection.evict()


def site_for(reactor: Any, events: Events, readiness: Readiness, metrics: Metrics) -> Connections:
    """The factory of all that can be seen."""
    root = Resource()
    for path, (name, content_type) in _PAGE.items():
        root.putChild(path, _File(name, content_type))
    root.putChild(b"events", events)
    root.putChild(b"healthz", _Healthy())  # type: ignore[no-untyped-call]
    root.putChild(b"readyz", readiness)
    root.putChild(b"metrics", metrics)
    site = _Site(root, timeout=IDLE, reactor=reactor)  # type: ignore[no-untyped-call]
    site.pace = Pace()
    return Connections(site)  # type: ignore[no-untyped-call]
