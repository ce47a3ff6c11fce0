"""The servers: how each is found on this machine, and its command line with the settings that were its fastest."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

import attrs

ROOT = Path(__file__).parent.parent
_LIMIT_C = Path(__file__).with_name("limit.c")
_MOST = ["--max-associations", "2000", "--max-associations-per-peer", "2000"]
_NO_DELAY = {"TCP_NODELAY": "1"}  # DCMTK's library reads it, also in Orthanc; without it each response waits for an ACK


class Missing(Exception):
    """It is not on this machine; says how to get it."""


@attrs.frozen
class Place:
    """Where one process works: its port, the directory of its instances, one for all else."""

    port: int
    output: Path
    scratch: Path
    crowd: bool = False  # more associations than a server takes by default


@attrs.frozen
class Server:
    """`keeps` is what becomes of an instance: a file of its own in the output directory, nothing, or something else."""

    name: str
    version: str
    command: Callable[[Place], list[str]]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    forks: bool = False
    keeps: Literal["files", "nothing", "its own"] = "files"


def find(name: str, scratch: Path) -> Server:
    """The server of that name. `Missing` where it is not on this machine."""
    return _FINDERS[name](name, scratch)


def _output_of(*command: str) -> str:
    """What it prints, or nothing where it cannot be run."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout + run.stderr


def _python_path() -> dict[str, str]:
    """The checkout this is in comes before what may be installed."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def _ours(arguments: list[str], name: str, _: Path) -> Server:
    def command(place: Place) -> list[str]:
        crowd = _MOST if place.crowd else []
        return [sys.executable, "-m", "storescp", str(place.port), "-q", "-od", str(place.output), *arguments, *crowd]

    return Server(
        name=name,
        version=f"storescp of this checkout, {' '.join(arguments)}",
        command=command,
        environment=_python_path(),
        keeps="nothing" if "--ignore" in arguments else "files",
    )


def _dcmtk(arguments: list[str], name: str, _: Path) -> Server:
    programs = [os.path.join(directory, "storescp") for directory in os.get_exec_path()]
    versions = {each: _output_of(each, "--version").partition("\n")[0].strip("$ ") for each in programs}
    program = next((each for each in programs if versions[each].startswith("dcmtk")), None)  # ours has the same name
    if program is None:
        raise Missing("DCMTK's storescp is not on the PATH: apt-get install dcmtk, or https://dcmtk.org")
    return Server(
        name=name,
        version=f"{versions[program]}, {' '.join(arguments)}",
        command=lambda place: [program, "-q", *arguments, "-od", str(place.output), str(place.port)],
        environment=_NO_DELAY,
        forks="--fork" in arguments,
    )


def _orthanc(sync: bool, name: str, _: Path) -> Server:
    program = shutil.which("Orthanc", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))
    if program is None:
        raise Missing("Orthanc is not on the PATH: apt-get install orthanc, or https://www.orthanc-server.com")

    def command(place: Place) -> list[str]:
        configuration = place.scratch / "orthanc.json"
        configuration.write_text(json.dumps(_orthanc_configuration(place, sync)))
        return [program, str(configuration)]

    return Server(
        name=name,
        version=f"{_output_of(program, '--version').partition(chr(10))[0]}, SyncStorageArea {str(sync).lower()}",
        command=command,
        environment=_NO_DELAY,
        keeps="its own",
    )


def _orthanc_configuration(place: Place, sync: bool) -> dict[str, object]:
    return {
        "StorageDirectory": str(place.output),
        "IndexDirectory": str(place.output),
        "SyncStorageArea": sync,
        "DicomPort": place.port,
        "DicomThreadsCount": 100,  # an association occupies one; the default, 4, would keep the others waiting
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": 16384,
        "StoreMD5ForAttachments": False,  # the default, true, made it a third slower
        "HttpServerEnabled": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [],
    }


def _pynetdicom(name: str, _: Path) -> Server:
    if importlib.util.find_spec("pynetdicom") is None:
        raise Missing("pynetdicom is not installed: pip install pynetdicom")
    return Server(
        name=name,
        version=f"pynetdicom {metadata.version('pynetdicom')} on pydicom {metadata.version('pydicom')}",
        command=lambda place: [
            *(sys.executable, "-m", "pynetdicom", "storescp", str(place.port)),
            *("-q", "-od", str(place.output), "-pdu", "16384"),
        ],
    )


def _limit(arguments: list[str], name: str, scratch: Path) -> Server:
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("limit.c needs a C compiler, cc: apt-get install gcc libc6-dev")
    program = scratch / "limit"
    if not program.exists():
        complaints = _output_of(compiler, "-O2", "-o", str(program), str(_LIMIT_C), "-pthread")
        if not program.exists():
            raise Missing(f"limit.c cannot be compiled: {complaints.strip()}")
    return Server(
        name=name,
        version=_output_of(compiler, "--version").partition("\n")[0],
        command=lambda place: [str(program), str(place.port), str(place.output), *arguments],
    )


_FINDERS: dict[str, Callable[[str, Path], Server]] = {
    "none": partial(_ours, ["--durability", "none"]),
    "file": partial(_ours, ["--durability", "file"]),
    "full": partial(_ours, ["--durability", "full"]),
    "ignore": partial(_ours, ["--ignore"]),
    "watched": partial(_ours, ["--durability", "none", "--http", "0"]),
    "dcmtk": partial(_dcmtk, ["--fork"]),
    "dcmtk-bits": partial(_dcmtk, ["--fork", "--bit-preserving"]),  # faster with large instances, and only with those
    "dcmtk-single": partial(_dcmtk, ["--single-process"]),  # one association at a time, but no fork for each
    "orthanc": partial(_orthanc, False),
    "orthanc-sync": partial(_orthanc, True),
    "pynetdicom": _pynetdicom,
    "limit": partial(_limit, []),
    "limit-fsync": partial(_limit, ["fsync"]),
}
NAMES = tuple(_FINDERS)
OURS = ("none", "file", "full", "ignore", "watched")
