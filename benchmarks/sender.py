"""The load: ``python -m benchmarks.sender TASK``, a process with one thread and nothing but the standard library.

One thread, because threads would wait for each other's turns and count that as the server's latency. What is sent is
encoded before the clock starts. TASK is a `Task` as JSON. Each line on stdout is a JSON object, after which the sender
waits for a line on stdin: "ready" when the server is warm and the clock is about to start; "held" when the idle
associations are open; "result" when the clock has stopped, with the associations still open; "failed", the last.

A latency is the time from the first byte of a request that is handed to the kernel to the last of its response.
"""

import dataclasses
import gc
import json
import math
import random
import resource
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from benchmarks import wire

PHASE = 60.0  # seconds that any phase may take; a server that is stuck ends the measurement and not the run
TURN = 1.0  # seconds after which the loop looks at the clock at the latest
OPENING = 16  # associations that are asked for at a time, which fits into everybody's listen backlog
WARM_UP = 0.05  # of the instances; they are no larger than these:
WARM_UP_SIZE = 524288
_WARM_ASSOCIATIONS = 4  # the slowest takes 0.2 s for each

Script = Generator[None, bytes, None]  # yields where it waits for a PDU, and is sent it whole


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do: `mode` is "store", "associations", "idle" or "echoes", as the functions below have it."""

    mode: str
    port: int
    associations: int = 1
    instances: int = 1  # of each association; or associations in all, or echoes
    size: int = 0  # bytes of the pixels
    window: int = 1
    seconds: float = PHASE  # after which nothing more is begun
    interval: float = 0.0  # seconds between two echoes


class Request:
    """Bytes on their way, and when the first of them went."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = [memoryview(part) for part in parts]
        self.began = 0.0


def remaining(parts: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of `parts` when so many bytes have gone."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return [part[sent:], *parts[index + 1 :]]
        sent -= len(part)
    return []


class Loop:
    """Runs the scripts of many connections."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.busy = 0  # connections whose script has not ended

    def run(self, starts: Iterable[Callable[[], object]], at_a_time: int) -> None:
        """Call each of `starts`, which start a script, no more than `at_a_time`; return when all of them have ended."""
        waiting = iter(starts)
        deadline = time.monotonic() + PHASE
        while True:
            while self.busy < at_a_time and (start := next(waiting, None)) is not None:
                start()
            if not self.busy:
                return
            self._turn(deadline)

    def _turn(self, deadline: float) -> None:
        for key, events in self.selector.select(TURN):
            key.data(events)
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer within {PHASE:g} s")


class Connection:
    """A TCP connection: takes requests in any number, hands whole PDUs to the script that runs on it."""

    def __init__(self, loop: Loop, port: int) -> None:
        self.accepted = wire.Accepted(0, 1)
        self._loop = loop
        self._script: Script | None = None
        self._received = bytearray()
        self._requests: deque[Request] = deque()
        self._writing = False
        self._socket = socket.create_connection(("127.0.0.1", port), PHASE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        loop.selector.register(self._socket, selectors.EVENT_READ, self._ready)

    def run(self, script: Script) -> None:
        self._script = script
        self._loop.busy += 1
        self._resume(partial(next, script))

    def send(self, *parts: bytes) -> Request:
        request = Request(*parts)
        self._requests.append(request)
        if not self._writing:
            self._write()
        return request

    def close(self) -> None:
        self._loop.selector.unregister(self._socket)
        self._socket.close()

    def _resume(self, step: Callable[[], None]) -> None:
        try:
            step()
        except StopIteration:
            self._script = None
            self._loop.busy -= 1

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if events & selectors.EVENT_READ:
            self._read()

    def _write(self) -> None:
        while self._requests:
            request = self._requests[0]
            request.began = request.began or time.perf_counter()
            try:
                request.parts = remaining(request.parts, self._socket.sendmsg(request.parts))
            except BlockingIOError:
                break
            if request.parts:
                break  # the socket is full
            self._requests.popleft()
        self._watch(writing=bool(self._requests))

    def _watch(self, *, writing: bool) -> None:
        if writing != self._writing:
            self._writing = writing
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._loop.selector.modify(self._socket, events, self._ready)

    def _read(self) -> None:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise wire.PeerError("the connection was closed")
        self._received += chunk
        while len(self._received) >= 6:
            end = 6 + int.from_bytes(self._received[2:6], "big")
            if len(self._received) < end:
                return
            pdu = bytes(self._received[:end])
            del self._received[:end]
            if self._script is None:
                raise wire.PeerError(f"not asked for: {pdu[:32].hex()}")
            self._resume(partial(self._script.send, pdu))


def associate(connection: Connection, window: int = 1) -> Script:
    connection.send(wire.associate_rq(window))
    body = wire.expect((yield), wire.ASSOCIATE_AC)
    connection.accepted = wire.read_associate_ac(body)


def release(connection: Connection) -> Script:
    connection.send(wire.RELEASE_REQUEST)
    wire.expect((yield), wire.RELEASE_RP)
    connection.close()


def echo(connection: Connection, latencies: list[float], message_id: int = 1) -> Script:
    request = connection.send(wire.echo_rq(message_id))
    wire.answered(wire.expect((yield), wire.P_DATA_TF))
    latencies.append(time.perf_counter() - request.began)


def echoed_association(connection: Connection, latencies: list[float]) -> Script:
    began = time.perf_counter()
    yield from associate(connection)
    yield from echo(connection, [])
    yield from release(connection)
    latencies.append(time.perf_counter() - began)


def store(connection: Connection, messages: Iterable[tuple[int, bytes, bytes]], latencies: list[float]) -> Script:
    """Send `messages`, each with its message id, no more at a time than the window that was answered."""
    under_way: dict[int, Request] = {}
    for message_id, head, rest in messages:
        if len(under_way) == max(connection.accepted.window, 1):
            _acknowledge((yield), under_way, latencies)
        under_way[message_id] = connection.send(head, rest)
    while under_way:
        _acknowledge((yield), under_way, latencies)


def _acknowledge(pdu: bytes, under_way: dict[int, Request], latencies: list[float]) -> None:
    message_id = wire.answered(wire.expect(pdu, wire.P_DATA_TF))
    if message_id not in under_way:
        raise wire.PeerError(f"a response to message {message_id}, which is not under way")
    latencies.append(time.perf_counter() - under_way.pop(message_id).began)


def within(seconds: float, items: Iterable[tuple[int, bytes, bytes]]) -> Iterator[tuple[int, bytes, bytes]]:
    """The items, as far as they are asked for before so many seconds have passed; the first one always."""
    deadline = math.inf
    for item in items:
        if time.monotonic() > deadline:
            return
        deadline = min(deadline, time.monotonic() + seconds)
        yield item


def say(**event: object) -> None:
    """Print it, and wait until the runner has done what it has to."""
    print(json.dumps(event), flush=True)
    if not sys.stdin.readline():
        raise SystemExit(1)  # the runner is gone


def percentile(values: list[float], part: float) -> float:
    """The smallest of `values` that `part` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def say_result(latencies: list[float], seconds: float, **more: object) -> None:
    say(
        event="result",
        count=len(latencies),
        seconds=seconds,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        **more,
    )


def open_associations(loop: Loop, task: Task) -> list[Connection]:
    connections: list[Connection] = []

    def start() -> None:
        connection = Connection(loop, task.port)
        connections.append(connection)
        connection.run(associate(connection, task.window))

    loop.run([start] * task.associations, OPENING)
    return connections


def release_all(loop: Loop, connections: list[Connection]) -> None:
    loop.run([partial(each.run, release(each)) for each in connections], OPENING)


def messages_of(image: wire.Image, run: int, association: int, numbers: range) -> list[tuple[int, bytes, bytes]]:
    return [
        (message_id, image.head(message_id, wire.uid_of(run, association, number)), image.rest)
        for number in numbers
        for message_id in [number % 65535 + 1]
    ]


def run_store(loop: Loop, task: Task) -> None:
    """`associations` store `instances` each, side by side; some smaller ones come first, so that the server is warm."""
    connections = open_associations(loop, task)
    limit = connections[0].accepted.maximum_length
    image, small = wire.Image(task.size, limit), wire.Image(min(task.size, WARM_UP_SIZE), limit)
    warm = max(1, round(task.instances * WARM_UP))
    run = random.SystemRandom().randrange(10**9, 10**10)
    numbers = range(warm, warm + task.instances)
    messages = [messages_of(image, run, index, numbers) for index in range(len(connections))]
    latencies: list[float] = []
    for index, each in enumerate(connections):
        warming = messages_of(small, run, index, range(warm))
        loop.run([partial(each.run, store(each, warming, latencies))], 1)
    sizes = [small.length] * len(latencies)
    latencies.clear()
    _freeze()
    say(event="ready")
    began = time.perf_counter()
    scripts = [
        store(each, within(task.seconds, mine), latencies) for each, mine in zip(connections, messages, strict=True)
    ]
    loop.run([partial(each.run, script) for each, script in zip(connections, scripts, strict=True)], len(connections))
    seconds = time.perf_counter() - began
    sizes += [image.length] * len(latencies)
    say_result(latencies, seconds, size=image.length, sizes=sizes, window=connections[0].accepted.window)
    release_all(loop, connections)


def run_associations(loop: Loop, task: Task) -> None:
    """`instances` associations are opened, echoed and released, `associations` at a time."""
    latencies: list[float] = []

    def start(latencies: list[float]) -> None:
        connection = Connection(loop, task.port)
        connection.run(echoed_association(connection, latencies))

    def starts() -> Iterator[Callable[[], None]]:
        deadline = time.monotonic() + task.seconds
        for _ in range(task.instances):
            if time.monotonic() > deadline:
                return
            yield partial(start, latencies)

    loop.run([partial(start, [])] * _WARM_ASSOCIATIONS, 1)
    _freeze()
    say(event="ready")
    began = time.perf_counter()
    loop.run(starts(), task.associations)
    say_result(latencies, time.perf_counter() - began)


def run_idle(loop: Loop, task: Task) -> None:
    """`associations` are held, and `instances` echoes are made on one more."""
    one = dataclasses.replace(task, associations=1)
    release_all(loop, open_associations(loop, one))
    say(event="ready")
    held = open_associations(loop, task)
    say(event="held")
    run_echoes(loop, one, opened=len(held))
    release_all(loop, held)


def run_echoes(loop: Loop, task: Task, opened: int = 0) -> None:
    """One association makes `instances` echoes, due `interval` seconds apart, but none after `seconds`."""
    (connection,) = open_associations(loop, task)
    latencies: list[float] = []
    loop.run([partial(connection.run, echo(connection, []))], 1)
    _freeze()
    if not opened:
        say(event="ready")
    began = time.perf_counter()
    for number in range(task.instances):
        # Of an echo that is due while the one before it is not yet answered, the latency begins when it was due: or a
        # stall of the server would count once, however long it is.
        due = began + number * task.interval
        late = time.perf_counter() - due if task.interval else 0.0
        if late < 0:
            time.sleep(-late)
        loop.run([partial(connection.run, echo(connection, latencies, number % 65535 + 1))], 1)
        latencies[-1] += max(late, 0.0)
        if time.perf_counter() - began > task.seconds:
            break
    say_result(latencies, time.perf_counter() - began, associations=opened)
    release_all(loop, [connection])


def _freeze() -> None:
    gc.collect()
    gc.disable()  # so that no collection is taken for the server's latency


MODES = {"store": run_store, "associations": run_associations, "idle": run_idle, "echoes": run_echoes}


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        MODES[task.mode](Loop(), task)
    except (OSError, wire.PeerError) as error:
        say(event="failed", why=str(error))


if __name__ == "__main__":
    main()
