"""site_for: what a browser, Prometheus and whoever supervises a service may look at. There is nothing to be changed.

What is bounded: connections, watchers, what is kept of a request, and what waits for a watcher that does not read.
"""

from collections.abc import Callable
from importlib.resources import files
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

CONNECTIONS = 64
WATCHERS = 16
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

Probe = Callable[[], "Deferred[Any]"]


class _File(Resource):
    isLeaf = True

    def __init__(self, name: str, content_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._content = (files("storescp.watch") / "page" / name).read_bytes()
        self._type = content_type

    def render_GET(self, request: Request) -> bytes:
        return _answer(request, 200, self._content, self._type)


class _Healthy(Resource):
    """Whether the reactor is alive: it answers."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return _answer(request, 200, b"alive\n")


class Readiness(Resource):
    """Whether instances would be taken: `hindrance` is empty, and `probe` succeeds in time.

    One probe is under way at a time, whoever asks; each who does waits for it.
    """

    isLeaf = True

    def __init__(self, clock: IReactorTime, hindrance: Callable[[], str], probe: Probe) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._hindrance = hindrance
        self._probe = probe
        self._probing = False
        self._waiting: list[Deferred[str]] = []

    def render_GET(self, request: Request) -> bytes | int:
        hindrance = self._hindrance()
        if hindrance:
            return _ready(request, hindrance)
        probed: Deferred[str] = Deferred()
        probed.addTimeout(PROBE, self._clock, lambda _result, seconds: f"the disk has not answered for {seconds:g} s")
        gone = request.notifyFinish()
        gone.addErrback(lambda _failure: probed.cancel())
        probed.addCallbacks(lambda hindrance: self._finish(request, hindrance), lambda _cancelled: None)
        self._waiting.append(probed)
        self._find_out()
        return NOT_DONE_YET

    def _find_out(self) -> None:
        if not self._probing:
            self._probing = True
            self._probe().addCallbacks(lambda _result: "", _fault).addCallback(self._found)

    def _found(self, hindrance: str) -> None:
        self._probing = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:  # by its timeout
                each.callback(hindrance)

    def _finish(self, request: Request, hindrance: str) -> None:
        request.write(_ready(request, hindrance))
        request.finish()


def _fault(failure: Failure) -> str:
    text: str = getattr(failure.value, "strerror", None) or failure.getErrorMessage()
    return text


def _ready(request: Request, hindrance: str) -> bytes:
    if hindrance:
        return _answer(request, 503, f"not ready: {hindrance}\n".encode())
    return _answer(request, 200, b"ready\n")


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

    isLeaf = True

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
    return body


class _Request(Request):
    """One whose body, which means nothing here, is kept nowhere: Twisted's own keeps a long one on the disk."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _Site(Site):
    requestFactory = _Request
    displayTracebacks = False
    noisy = False

    def log(self, request: Any) -> None:
        """Who looks is not worth a line."""


class Connections(WrappingFactory):
    """At most so many at a time, and an end to all of them."""

    noisy = False

    def logPrefix(self) -> str:
        return "HTTP"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.protocols) >= CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def close(self) -> None:
        wrapper: ProtocolWrapper
        for wrapper in list(self.protocols):
            transport: Any = wrapper.transport
            transport.abortConnection()


def site_for(events: Events, readiness: Readiness, metrics: IResource) -> Connections:
    """The factory of all that can be seen."""
    root = Resource()
    for path, (name, content_type) in _PAGE.items():
        root.putChild(path, _File(name, content_type))
    root.putChild(b"events", events)
    root.putChild(b"healthz", _Healthy())  # type: ignore[no-untyped-call]
    root.putChild(b"readyz", readiness)
    root.putChild(b"metrics", metrics)
    return Connections(_Site(root, timeout=IDLE))  # type: ignore[no-untyped-call]


def nothing_to_probe() -> "Deferred[Any]":
    """The probe of a storage that cannot be asked."""
    return succeed(None)
