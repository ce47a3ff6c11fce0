"""Measures: every server of a scenario in turn, round by round, each time in a new process and a new directory."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.processes import Failed, SenderProcess, ServerProcess, free_port
from benchmarks.scenarios import KIB, MIB, Entry, Kind, Scenario
from benchmarks.sender import Task
from benchmarks.servers import Place, Server

_HEADER = 1024  # bytes: preamble and file meta information are no longer
# At most, and seconds, beside storing associations: longer than a round of any server, or they would queue.
_ECHOES, _ECHOES_APART = 1000, 0.025

Figures = dict[str, float]


@attrs.frozen
class Measurement:
    """Of one server in one round. No figures where it failed, and then why."""

    scenario: str
    label: str
    round: int
    figures: Figures
    failed: str = ""


@attrs.frozen
class Grounds:
    """The directories, one of each place, in which those of the servers are made."""

    tmpfs: Path
    disk: Path

    @contextmanager
    def place(self, scenario: Scenario) -> Iterator[Place]:
        """A new one, which is removed, and what was written is on the disk, when the statement ends."""
        root = Path(tempfile.mkdtemp(prefix="benchmark-", dir=getattr(self, scenario.place)))
        try:
            output, scratch = root / "instances", root / "scratch"
            output.mkdir()
            scratch.mkdir()
            yield Place(free_port(), output, scratch, crowd=scenario.kind == "idle")
        finally:
            shutil.rmtree(root, ignore_errors=True)
            if scenario.place == "disk":
                os.sync()  # so that nothing that this server has left to write slows down the next


def measure(scenario: Scenario, servers: Mapping[str, Server], grounds: Grounds, rounds: int) -> Iterator[Measurement]:
    """The rounds of all servers that take part and are on this machine; each round begins with another one."""
    entries = [entry for entry in scenario.entries if entry.server in servers]
    for number in range(1, rounds + 1):
        first = (number - 1) % max(len(entries), 1)
        for entry in entries[first:] + entries[:first]:
            yield _measurement(scenario, entry, servers[entry.server], grounds, number)


def _measurement(scenario: Scenario, entry: Entry, server: Server, grounds: Grounds, number: int) -> Measurement:
    measured = Measurement(scenario.name, entry.label, number, {})
    try:
        with grounds.place(scenario) as place, ServerProcess(server, place) as process:
            run = _Run(scenario, entry, server, place, process)
            try:
                return attrs.evolve(measured, figures=_KINDS[scenario.kind](run))
            except (Failed, OSError) as failed:
                raise Failed(process.ended() or str(failed)) from failed
    except (Failed, OSError) as failed:
        return attrs.evolve(measured, failed=str(failed))


@attrs.frozen
class _Run:
    """One server that listens, and what is to be done to it."""

    scenario: Scenario
    entry: Entry
    server: Server
    place: Place
    process: ServerProcess

    def task(self, mode: str) -> Task:
        return Task(
            mode,
            self.process.port,
            associations=self.scenario.associations,
            instances=self.scenario.instances,
            size=self.scenario.size,
            window=self.entry.window,
            seconds=self.scenario.seconds,
        )


def _loaded(run: _Run, mode: str) -> tuple[dict[str, Any], Figures]:
    """What the sender reports, and the figures that every load has."""
    memory = run.process.memory
    start = memory.now()
    memory.watch()
    with SenderProcess(run.task(mode)) as sender:
        sender.expect("ready")
        cpu = run.process.cpu_seconds()
        sender.go()
        result = sender.expect("result")
        cpu = run.process.cpu_seconds() - cpu
        peak = memory.peak()
        sender.finish()
    return result, {
        "count": result["count"],
        "rate": result["count"] / result["seconds"],
        **_latencies(result),
        "cpu": 1000 * cpu / result["count"],
        "start": start / MIB,
        "peak": peak / MIB,
        "above": (peak - start) / MIB,
    }


def _latencies(result: dict[str, Any]) -> Figures:
    return {"p50": 1000 * result["p50"], "p99": 1000 * result["p99"]}


def _store(run: _Run) -> Figures:
    result, figures = _loaded(run, "store")
    _check_files(run, result["sizes"])
    if result["window"] < run.entry.window:
        raise Failed(f"a window of {run.entry.window} was proposed, and {result['window']} answered")
    return {**figures, "megabytes": figures["rate"] * result["size"] / 1e6}


def _check_files(run: _Run, expected: list[int]) -> None:
    """Every instance that was acknowledged must be there, and whole."""
    if run.server.keeps == "its own":
        return
    paths = [path for path in run.place.output.iterdir() if path.is_file()]
    sizes = sorted(path.stat().st_size for path in paths)
    wanted = sorted(expected) if run.server.keeps == "files" else []
    if len(sizes) != len(wanted):
        raise Failed(f"{len(wanted)} instances were to be stored, and there are {len(sizes)} files")
    if not all(0 <= size - data_set <= _HEADER for size, data_set in zip(sizes, wanted, strict=True)):
        raise Failed("a file is not as long as its instance")


def _associations(run: _Run) -> Figures:
    return _loaded(run, "associations")[1]


def _idle(run: _Run) -> Figures:
    memory = run.process.memory
    with SenderProcess(run.task("idle")) as sender:
        sender.expect("ready")
        start = memory.now()
        sender.go()
        sender.expect("held")
        held = memory.now()
        sender.go()
        result = sender.expect("result")
        sender.finish()
    count = result["associations"]
    return {
        "count": count,
        "each": (held - start) / KIB / count,
        **_latencies(result),
        "start": start / MIB,
        "peak": held / MIB,
    }


def _beside(run: _Run) -> Figures:
    """The echoes end while instances are still being stored."""
    storing = run.task("store")
    echoing = dataclasses.replace(
        storing,
        mode="echoes",
        associations=1,
        instances=_ECHOES,
        seconds=storing.seconds * 2 / 3,
        interval=_ECHOES_APART,
    )
    with SenderProcess(storing) as sender, SenderProcess(echoing) as echoes:
        sender.expect("ready")
        echoes.expect("ready")
        sender.go()
        echoes.go()
        echoed = echoes.expect("result")
        stored = sender.expect("result")
        echoes.finish()
        sender.finish()
    _check_files(run, stored["sizes"])
    if stored["seconds"] < echoed["seconds"]:
        raise Failed("all instances were stored before the echoes were over")
    return {"count": echoed["count"], "rate": stored["count"] / stored["seconds"], **_latencies(echoed)}


def _start(run: _Run) -> Figures:
    return {"listening": 1000 * run.process.start_seconds, "start": run.process.memory.now() / MIB}


_KINDS: dict[Kind, Callable[[_Run], Figures]] = {
    "store": _store,
    "associations": _associations,
    "idle": _idle,
    "beside": _beside,
    "start": _start,
}
