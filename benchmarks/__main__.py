"""``python -m benchmarks``; see its ``--help``, and ``docs/performance.rst`` for what came out."""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from benchmarks import bars, machine, tables
from benchmarks.rounds import Grounds, Measurement, measure
from benchmarks.scenarios import SCENARIOS, SIZES, Scenario
from benchmarks.servers import NAMES, OURS, Missing, Server, find

_PLOT_ROUNDS = 3  # at most: a curve needs less than a bar


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Sends the same images to every Storage SCP that is found on this machine, the servers taking "
        "turns round by round, and prints tables. Takes some ten minutes, 1.5 GiB of the tmpfs, 0.5 GiB of the disk.",
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--server", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5, help="of each scenario (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all counts; below 1 only for a quick look")
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"), metavar="DIR", help="default: /dev/shm")
    parser.add_argument("--disk", type=Path, default=Path(), metavar="DIR", help="default: the current directory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all rounds")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also measure and draw rate over size: some minutes"
    )
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Complain now of what would be found out when all is measured."""
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be more than 0")
    for directory in (options.tmpfs, options.disk):
        if not directory.is_dir():
            parser.error(f"{directory} is not a directory")
    for file in filter(None, (options.json, options.plot)):
        try:
            file.open("ab").close()
        except OSError as error:
            parser.error(f"{file}: {error.strerror}")


def found(names: Sequence[str], scratch: Path) -> dict[str, Server]:
    """Those that are on this machine; for each other a line says how to get it."""
    servers = {}
    for name in names:
        try:
            servers[name] = find(name, scratch)
            print(f"{name}: {servers[name].version}")
        except Missing as missing:
            print(f"{name}: left out. {missing}")
    return servers


def scaled(scenario: Scenario, factor: float) -> Scenario:
    if scenario.kind == "beside":  # which ends by the clock
        return attrs.evolve(scenario, seconds=scenario.seconds * factor)
    associations = scenario.associations * factor if scenario.kind == "idle" else scenario.associations
    instances = max(1, round(scenario.instances * factor))
    return attrs.evolve(scenario, instances=instances, associations=max(1, round(associations)))


def run(options: argparse.Namespace, scratch: Path) -> list[Measurement]:
    grounds = Grounds(tmpfs=options.tmpfs.resolve(), disk=options.disk.resolve())
    servers = found(options.server, scratch)
    print(f"\n{tables.LEGEND}")
    results: list[Measurement] = []
    plotted = SIZES if options.plot else ()
    for scenario in (*(each for each in SCENARIOS if each.name in options.scenario), *plotted):
        rounds = min(options.rounds, _PLOT_ROUNDS) if scenario in plotted else options.rounds
        results += measure(scaled(scenario, options.scale), servers, grounds, rounds)
        print(f"\n{tables.of_scenario(scenario, results)}", flush=True)
    if options.scale < 1:
        print("\nThe bars are not judged: the counts were scaled down.")
    elif report := bars.report(results):
        print(f"\n{report}")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_of(arguments)
    if options.plot:
        from benchmarks import plot  # noqa: PLC0415  # before anything is measured: without matplotlib it ends here
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the servers end too
    began = time.monotonic()
    print(machine.description(options.tmpfs, options.disk))
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        results = run(options, Path(scratch))
    if options.json:
        options.json.write_text(json.dumps([attrs.asdict(each) for each in results], indent=1))
    if options.plot:
        plot.draw(results, SIZES, options.plot)
    print(f"\n{time.monotonic() - began:.0f} s")
    return any(each.failed and each.label.partition(",")[0] in OURS for each in results)


if __name__ == "__main__":
    sys.exit(main())
