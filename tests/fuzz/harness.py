# mypy: allow-untyped-calls
"""One connection on which anything may come, to a whole server in memory, and what must be true after it."""

import contextlib
import io
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import attrs
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from storescp.config import Config
from storescp.dimse.commands import CEchoRSP
from storescp.program.lines import TextObserver
from storescp.program.logs import AssociationLog
from storescp.server.factory import StorageSCPFactory
from storescp.storage import directory as storage
from storescp.storage.directory import DirectoryStorage
from storescp.storage.naming import file_name
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from storescp.testing import SCU
from storescp.ul.pdu import AAssociateAC
from storescp.watch.audit import AuditObserver, Event
from tests.clocks import BusyClock
from tests.fuzz.steps import Act, Step
from tests.fuzz.streams import ABORT, is_whole, messages, split_pdus, uid
from tests.storage.disks import ByHand

# Low enough for a fuzzer to reach, and for a place that is not given back to be missed. The corpus keeps within them.
CONFIG = Config(
    accept_all_syntaxes=True,
    timeout=120,
    dimse_timeout=60,
    max_associations=2,
    max_unassociated=2,
    max_instance_size=40_000,
    max_associate_rq=32 * 1024,
    max_transfer_syntaxes=40,
    max_user_items=16,
    max_command_set=4096,
)
BATCH = 1024  # bytes gathered before they are written: small instances, too, have an open file for a while, and wait
SLOWNESS = 0.001  # seconds that a busy server takes for next to nothing
ECHO_WITHIN = 1.0  # seconds of real time
ECHOED = CEchoRSP(affected_sop_class_uid="1.2.840.10008.1.1", message_id_being_responded_to=1, status=0x0000)

# No control characters, separators or those that turn the direction of writing.
_LINE = re.compile(r"[DIWE]: [^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*")
_SUCCESS = b"\0\0"
_C_STORE_RSP = b"\x01\x80"


@attrs.frozen
class Outcome:
    """What a peer has heard, which files and log lines there are, and whether the server has cut the connection."""

    heard: bytes
    files: dict[str, bytes]
    log: list[str]
    closed: bool


class _Transport(StringTransport):
    """A transport that, as those of Twisted do, pauses its producer while the peer does not read."""

    _unread = False
    _paused = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self._pause()

    def read(self, reads: bool) -> None:
        self._unread = not reads
        if reads and self._paused and self.producer is not None:
            self._paused = False
            self.producer.resumeProducing()

    def _pause(self) -> None:
        if self._unread and self.producer is not None:  # at each write, as TCP does
            self._paused = True
            self.producer.pauseProducing()


class _Connection:
    """The peer that is fuzzed. What it sends while the server does not read waits."""

    def __init__(self, factory: StorageSCPFactory, clock: Clock) -> None:
        self.transport = _Transport()
        self._clock = clock
        self._protocol = factory.buildProtocol(None)
        self._protocol.makeConnection(self.transport)
        self._waiting: deque[bytes] = deque()
        self._connected = True

    def send(self, data: bytes) -> None:
        self._waiting.append(data)

    def pump(self) -> None:
        """Let others have had their turn, then arrive what can; an aborted connection is lost."""
        self._clock.advance(0)
        while self._waiting and not self.transport.disconnected and self.transport.producerState == "producing":
            self._protocol.dataReceived(self._waiting.popleft())
        if self.transport.disconnected:
            self.disconnect()

    def disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._waiting.clear()
            self._protocol.connectionLost()


@implementer(ILogObserver)
class _Failures:
    """The tracebacks of all that is logged as a failure."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.seen.append(event["log_failure"].getTraceback())


class Bench:
    """Runs cases, each with a new server. `close` it."""

    def __init__(self, directory: str) -> None:
        self._root = Path(directory)
        self._directory = self._new_directory()
        self._failures = _Failures()
        globalLogPublisher.addObserver(self._failures)
        self._small = mock.patch.multiple(storage, BATCH=BATCH, HIGH_WATER=4 * BATCH)
        self._small.start()

    def _new_directory(self) -> Path:
        path = self._root / str(len(os.listdir(self._root)))
        path.mkdir()
        return path

    def close(self) -> None:
        globalLogPublisher.removeObserver(self._failures)
        self._small.stop()

    def run(self, steps: Iterable[Step], *, slow_disk: bool = False, busy: bool = False) -> Outcome:
        """Let `steps` happen on one connection, then lose it. AssertionError for what is wrong then, or has leaked.

        A slow disk does nothing but where the steps say so. A busy server has to let others have their turn often.
        """
        self._failures.seen.clear()
        try:
            return self._run(steps, slow_disk, busy)
        except BaseException:
            self._directory = self._new_directory()  # that server may still have the other one
            raise

    def _run(self, steps: Iterable[Step], slow_disk: bool, busy: bool) -> Outcome:
        before = _descriptors()
        server = _Server(str(self._directory), slow_disk=slow_disk, busy=busy)
        heard, closed = server.run(steps)
        assert not self._failures.seen, self._failures.seen[0]
        outcome = Outcome(heard, self._take_files(), _lines(server.printed.getvalue()), closed)
        assert _descriptors() == before, f"open descriptors: {_descriptors() ^ before}"
        _check_heard(heard)
        _check_files(outcome, all_acknowledged=not slow_disk)
        return outcome

    def _take_files(self) -> dict[str, bytes]:
        assert os.listdir(self._directory / ".incoming") == ["lock"], os.listdir(self._directory / ".incoming")
        files = {}
        for path in self._directory.glob("[!.]*"):
            files[path.name] = path.read_bytes()
            path.unlink()
        return files


class _Server:
    def __init__(self, directory: str, *, slow_disk: bool, busy: bool) -> None:
        self.printed = io.StringIO()  # about the connection that is fuzzed
        self._observer = TextObserver(self.printed, "debug")
        self._clock = BusyClock()  # then many PDUs at once are more than a peer may have in its turn
        self._busy = busy
        self._by_hand = ByHand()
        workers = self._by_hand if slow_disk else AtOnce()
        disk = DirectoryStorage(directory, workers, Rules(durability="none"))
        self._audited: list[Event] = []
        observers = [AssociationLog("debug", self._clock.seconds), AuditObserver(self._audited.append)]
        self._factory = StorageSCPFactory(CONFIG, disk, self._clock, observers)

    def run(self, steps: Iterable[Step]) -> tuple[bytes, bool]:
        """What the peer has heard, and whether the server has cut the connection: this peer never closes first."""
        self._factory.doStart()
        with self._printing():
            self._clock.step = SLOWNESS if self._busy else 0.0
            connection = _Connection(self._factory, self._clock)
            for step in steps:
                self._do(connection, step)
            self._clock.step = 0.0
        closed = bool(connection.transport.disconnected)
        beside = self._scu()
        with self._printing():
            connection.disconnect()
            self._by_hand.work()
        for scu in (beside, self._scu()):  # as many as may be: one more place would be missed
            scu.release()
            assert scu.released, "another peer is not released"
        self._let_many_connect()
        self._check_audit()
        assert not self._clock.getDelayedCalls(), f"delayed calls: {self._clock.getDelayedCalls()}"
        self._stop()
        return connection.transport.value(), closed

    @contextlib.contextmanager
    def _printing(self) -> Iterator[None]:
        globalLogPublisher.addObserver(self._observer)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(self._observer)

    def _do(self, connection: _Connection, step: Step) -> None:
        if isinstance(step, bytes):
            connection.send(step)
        elif isinstance(step, float):
            self._clock.advance(step)
        elif step is Act.WORK:
            self._by_hand.work(1)
        else:
            connection.transport.read(step is Act.READ)
        connection.pump()

    def _scu(self) -> SCU:
        """Another peer, whose echo is answered without any time passing."""
        started = time.monotonic()
        scu = SCU(self._factory, self._clock)
        assert isinstance(scu.answer, AAssociateAC), f"no association for another peer: {scu.answer}"
        answer = scu.echo()
        assert answer == ECHOED, f"another peer's echo: {answer}"
        took = time.monotonic() - started
        assert took < ECHO_WITHIN, f"another peer has waited {took:.1f} s"
        return scu

    def _let_many_connect(self) -> None:
        """As many silent connections as may be: one that is still counted would have to go."""
        silent = [_Connection(self._factory, self._clock) for _ in range(CONFIG.max_unassociated)]
        for connection in silent:
            connection.disconnect()
        assert self._factory.limits_reached["max_unassociated"] == 0, "a connection that is lost has kept its place"

    def _check_audit(self) -> None:
        """Of each of the three peers there is one event at most, and it can be written as it is."""
        for event in self._audited:
            assert json.loads(json.dumps(event)) == event, f"no line of JSON: {event}"
        kinds = [event["event"] for event in self._audited]
        assert kinds.count("association") >= 2 and len(kinds) <= 3, f"not one event for each peer: {self._audited}"

    def _stop(self) -> None:
        self._factory.doStop()
        stopped: list[bool] = []
        self._factory.shutdown().addCallback(stopped.append)
        assert stopped == [True], "the factory knows a connection that is lost"


def _descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


def _lines(printed: str) -> list[str]:
    """The lines of the log, each of which is one and harmless."""
    *lines, rest = printed.split("\n")
    assert not rest, f"a line without an end: {rest!r}"
    for line in lines:
        assert _LINE.fullmatch(line), f"not a line of the log: {line!r}"
    return lines


def _check_heard(heard: bytes) -> None:
    """Whole PDUs; an A-ABORT, if there is one, is the last."""
    pdus = split_pdus(heard)
    for pdu in pdus:
        assert is_whole(pdu), f"a PDU in part: {pdu.hex()}"
    types = [pdu[0] for pdu in pdus]
    assert ABORT not in types[:-1], f"something was sent after an A-ABORT: {types}"


def stored_names(heard: bytes) -> set[str]:
    """The names of the instances that were acknowledged with Success."""
    answers = [answer for answer, _ in messages(split_pdus(heard)) if answer[0x0100] == _C_STORE_RSP]
    return {file_name(uid(each[0x0002]), uid(each[0x1000])) for each in answers if each[0x0900] == _SUCCESS}


def _check_files(outcome: Outcome, *, all_acknowledged: bool) -> None:
    """What was acknowledged is there, and nothing else, but for what a slow disk has published too late to say so."""
    acknowledged = stored_names(outcome.heard)
    there = {name.partition(".dup-")[0] for name in outcome.files}
    assert acknowledged <= there, f"acknowledged and not there: {acknowledged - there}"
    assert not all_acknowledged or there <= acknowledged, f"there and not acknowledged: {there - acknowledged}"
    for name, content in outcome.files.items():
        assert content.startswith(bytes(128) + b"DICM"), f"{name} is no DICOM file"
