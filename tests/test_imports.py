# mypy: allow-untyped-calls
"""The house: who may import whom, and the three things that are done in one place."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import storescp

# From top to bottom: a floor imports only from floors above it.
FLOORS = ("errors", "uids", "config", "ul", "dimse", "interfaces", "storage", "server", "testing", "watch", "program")
FACADES = ("storescp", "storescp.__main__")  # these may import anything, and nobody them
REACTOR = "twisted.internet.reactor"

# Whole modules, and methods as the calls that may stand in them alone.
PLACES = {"callLater": "storescp.server.timers", "transport.write": "storescp.server.protocol"}


def floor(module: str) -> str:
    """``ul`` of ``storescp.ul.pdu``; empty for a facade."""
    return "" if module in FACADES else module.split(".")[1]


def statements(tree: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it runs only when a function is called."""
    for node in ast.iter_child_nodes(tree):
        yield node, in_function
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(node, in_function or inside)


def imported(node: ast.AST, package: str, modules: Iterable[str]) -> list[str]:
    """The modules, or names of modules, that an import statement of `package` imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    found = []
    for alias in node.names:
        name = f"{base}.{alias.name}"
        found.append(name if name in modules or name == REACTOR else base)
    return found


def place(node: ast.AST) -> str:
    """The key of PLACES that a node is, if it is any."""
    if not isinstance(node, ast.Attribute):
        return ""
    if node.attr == "callLater":
        return "callLater"
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return "transport.write" if node.attr in ("write", "writeSequence") and name.endswith("transport") else ""


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The modules that can be reached from themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for module in graph[waiting.pop()] - seen:
                seen.add(module)
                waiting.append(module)
        return seen

    return [f"{module} imports itself in the end" for module in graph if module in reached(module)]


def wrongs(modules: dict[str, str]) -> list[str]:
    """What is wrong with the modules of `storescp`, given as their sources by name. Packages end in ``__init__``."""
    found = []
    sources = {name.removesuffix(".__init__"): source for name, source in modules.items()}
    graph: dict[str, set[str]] = {name: set() for name in sources}
    for full_name, source in modules.items():
        module = full_name.removesuffix(".__init__")
        package = module if module != full_name else module.rpartition(".")[0]
        below = floor(module) in ("", "program")
        for node, in_function in statements(ast.parse(source)):
            for name in imported(node, package, sources):
                if name == REACTOR and not (below and in_function):
                    found.append(f"{module} imports the reactor")
                if name.split(".")[0] == "storescp" and floor(module):
                    found += wrong_way(module, name)
                    graph[module] |= {name} & graph.keys()
            where = PLACES.get(place(node), module)
            if where != module and not below:
                found.append(f"{module} has a {place(node)}")
    return found + circles(graph)


def wrong_way(module: str, name: str) -> list[str]:
    own, other = floor(module), floor(name)
    if own not in FLOORS:
        return [f"{module} is on no floor"]
    if other in FLOORS and (other == own or FLOORS.index(other) < FLOORS.index(own)):
        return []
    return [f"{module} imports {name}"]


class HouseTests(SynchronousTestCase):
    """The modules of storescp themselves."""

    def test_house(self) -> None:
        """Imports point upwards without circles; reactor, callLater and transport.write are in their places."""
        assert storescp.__file__ is not None
        root = Path(storescp.__file__).parent
        modules = {
            ".".join(("storescp", *path.relative_to(root).with_suffix("").parts)): path.read_text("utf-8")
            for path in sorted(root.rglob("*.py"))
        }
        self.assertEqual([], wrongs(modules))
        self.assertEqual(set(FLOORS) | {""}, {floor(name.removesuffix(".__init__")) for name in modules})


class WalkerTests(SynchronousTestCase):
    """The walker of the imports, on modules it must refuse."""

    def check(self, expected: list[str], **modules: str) -> None:
        sources = {f"storescp.{name.replace('__', '.', 1)}": source for name, source in modules.items()}
        self.assertEqual(expected, wrongs(sources))

    def test_upwards(self) -> None:
        """What is above, beside in the same folder, or not ours, may be imported in any form."""
        self.check(
            [],
            errors="import struct",
            ul__a="from storescp.errors import X\nfrom storescp.ul.b import Y",
            ul__b="import storescp.errors\nfrom ..errors import X\nfrom twisted.internet import defer",
            server__a="from storescp import errors\nfrom storescp.ul import a\nfrom .. import errors",
        )

    def test_downwards(self) -> None:
        """What is below may be imported in no form: from, plain, relative, renamed, in a function, for types only."""
        for statement in (
            "from storescp.server.a import X",
            "from storescp.server import a",
            "import storescp.server.a",
            "import storescp.errors, storescp.server.a as z",
            "from ..server.a import X",
            "from ..server import a",
            "def f():\n from storescp.server.a import X",
            "class C:\n  import storescp.server.a",
            "if TYPE_CHECKING:\n from storescp.server.a import X",
            "try:\n import storescp.server.a\nexcept ImportError:\n pass",
        ):
            self.check(["storescp.ul.b imports storescp.server.a"], server__a="", ul__b=statement)

    def test_package(self) -> None:
        """A package below may not be imported for what is in its __init__, and imports itself what is above it."""
        self.check(
            ["storescp.ul.b imports storescp.server"], server____init__="", ul__b="from storescp.server import X"
        )
        self.check(
            ["storescp.ul imports storescp.server.a"], ul____init__="from ..server.a import X", server__a="import os"
        )
        self.check([], ul____init__="from . import b\nfrom .b import X", ul__b="")

    def test_facade(self) -> None:
        """A facade imports anything and is imported by nobody."""
        self.assertEqual([], wrongs({"storescp.__init__": "from storescp.program.a import X"}))
        for statement in ("import storescp", "from storescp import Config", "from .. import Config"):
            self.check(["storescp.ul.b imports storescp"], ul__b=statement)
        self.check(["storescp.ul.b imports storescp.__main__"], __main__="", ul__b="import storescp.__main__")

    def test_unknown_floor(self) -> None:
        """A module on no floor of the house is refused as soon as it imports something of it."""
        self.check(["storescp.utils is on no floor"], utils="import storescp.errors")

    def test_circle(self) -> None:
        """Modules of one folder that import each other are refused, each by name; their importer is not."""
        self.check(
            [f"storescp.ul.{name} imports itself in the end" for name in "abc"],
            ul__a="from storescp.ul.b import X",
            ul__b="from storescp.ul import c",
            ul__c="def f():\n  import storescp.ul.a",
            ul__d="import storescp.ul.a",
        )

    def test_reactor(self) -> None:
        """The reactor is imported by the programs alone, and not before a function of theirs runs."""
        for statement in (
            "from twisted.internet import reactor",
            "import twisted.internet.reactor",
            "from twisted.internet import defer, reactor as r",
        ):
            late = f"def f():\n    {statement}"
            self.check(["storescp.server.a imports the reactor"], server__a=statement)
            self.check(["storescp.server.a imports the reactor"], server__a=late)
            self.check(["storescp.program.a imports the reactor"], program__a=statement)
            self.check([], program__a=late, __main__=late)

    def test_call_later(self) -> None:
        """Timers alone have delayed calls; to hand the method on is no way around it."""
        for statement in ("clock.callLater(1, f)", "self._clock.callLater(1, f)", "later = reactor.callLater"):
            self.check(["storescp.server.a has a callLater"], server__a=statement)
            self.check([], server__timers=statement, program__a=statement)

    def test_transport_write(self) -> None:
        """The protocol alone writes to a transport; other things are written to by anybody."""
        for statement in ("transport.write(b'')", "self.transport.write(b'')", "x._transport.writeSequence([])"):
            self.check(["storescp.testing has a transport.write"], testing=statement)
            self.check([], server__protocol=statement, program__a=statement, server__a="sink.write(b'')")
