"""Processes that are started, spoken to, and ended by their ids: the servers, and the sender."""

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

from benchmarks.measures import Memory, cpu_seconds
from benchmarks.sender import PHASE, Task
from benchmarks.servers import ROOT, Place, Server

_START = 30.0  # seconds until a server listens
_STOP = 10.0  # seconds until it ends after SIGTERM; then it gets SIGKILL
_POLL = 0.002  # seconds


class Failed(Exception):
    """A measurement came to nothing; says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server that listens, in a process group of its own, until the ``with`` statement ends."""

    def __init__(self, server: Server, place: Place) -> None:
        command = server.command(place)
        self._log = place.scratch / "server.log"
        self.port = place.port
        began = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=place.output,
                env={**os.environ, **server.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.memory = Memory(self._process.pid, server.forks)
        try:
            self._wait_until_listening(place.port)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began  # from the spawn to the first TCP connection that was taken

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._process.pid)

    def ended(self) -> str:
        """Why it is not running any more, or nothing."""
        if not self._has_ended():
            return ""
        last = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
        return f"the server has ended: {last}"

    def stop(self) -> None:
        self.memory.end()
        try:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + _STOP
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(_POLL)
        finally:  # a signal may end the benchmark while it waits here
            self._signal(signal.SIGKILL)  # also what is left of its children
            self._process.wait(_STOP)

    def _has_ended(self) -> bool:
        # Not `poll`, which would give its id free: that of the group, which may still have children in it.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _wait_until_listening(self, port: int) -> None:
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            if why := self.ended():
                raise Failed(why)
            time.sleep(_POLL)
        raise Failed(f"it did not listen within {_START:g} s")


class SenderProcess:
    """A sender with its task; what it says is read event by event, and it goes on when it is told to."""

    def __init__(self, task: Task) -> None:
        self._received = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sender", json.dumps(dataclasses.asdict(task))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self) -> "SenderProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(PHASE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP)

    def expect(self, event: str) -> dict[str, Any]:
        """What it says next. `Failed` where that is another event than this."""
        said: dict[str, Any] = json.loads(self._line() or '{"event": "failed", "why": "the sender ended"}')
        if said["event"] != event:
            raise Failed(said.get("why", f"{said['event']} came in the place of {event}"))
        return said

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def finish(self) -> None:
        """Let it release its associations and end."""
        self.go()
        if line := self._line():
            raise Failed(json.loads(line).get("why", line.decode()))

    def _line(self) -> bytes:
        """The next one, or nothing at the end."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + 2 * PHASE  # the sender gives up itself after one
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                return b""
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line
