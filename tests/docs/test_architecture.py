"""docs/architecture.rst names what there is, files, classes, functions and options; and each file of storescp."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from storescp.program.command_line import make_parser
from tests.docs.pages import Page
from tests.servers import ROOT
from tests.test_imports import FACADES, FLOORS

PAGE = Page("docs/architecture.rst")
PACKAGE = ROOT / "storescp"

_LITERAL = re.compile(r"``([^`]+)``")
_SHOWN = re.compile(r"[\w/]+(?:[./][\w/]+)+")  # in a block, what is likely to be a name
_PATH = re.compile(r".*/.*|.*\.(?:py|rst|cfg|toml)")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_ROW = re.compile(r"(?m)^``(\S+)``  ")

# What is no file of the project, and what only others have.
ELSEWHERE = {"/events", "/healthz", "DeferredLock", "localhost"}


class Source:
    """The names in our code, comments and strings apart, and what each class of storescp defines."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._bases: defaultdict[str, set[str]] = defaultdict(set)
        for folder in ("storescp", "tests"):
            for path in (ROOT / folder).rglob("*.py"):
                self._read(ast.parse(path.read_text()), whole=folder == "storescp")

    def _read(self, tree: ast.AST, whole: bool) -> None:
        for node in ast.walk(tree):
            self._names.update(_names(node))
            if isinstance(node, ast.ClassDef) and whole:
                self._members[node.name].update(*map(_defined, ast.walk(node)))
                self._bases[node.name].update(map(ast.unparse, node.bases))

    def has(self, name: str) -> bool:
        """Whether there is something of this name, be it ``name`` or ``Class.name``."""
        owner, _, member = name.rpartition(".")
        return self._has_member(owner, member) if owner in self._members else self._names.issuperset(name.split("."))

    def _has_member(self, owner: str, member: str) -> bool:
        bases = self._bases[owner] & self._members.keys()
        return member in self._members[owner] or any(self._has_member(base, member) for base in bases)


def _names(node: ast.AST) -> Iterator[str]:
    yield from _defined(node)
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.alias):
        yield from node.name.split(".")
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from node.module.split(".")


def _defined(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr


@cache
def source() -> Source:
    return Source()


@cache
def flags() -> set[str]:
    """Every spelling of every option."""
    return {flag for action in make_parser("storescp")._actions for flag in action.option_strings}


def wrongs(text: str) -> list[str]:
    """What stands in double backquotes and is not there."""
    return [word for literal in _LITERAL.findall(text) for word in _wrong_in(literal.split())]


def _wrong_in(words: list[str]) -> Iterator[str]:
    first, *more = words
    for word in words:
        if _PATH.fullmatch(word) and word not in ELSEWHERE and not _is_path(word):
            yield word
    if first.startswith("-"):
        yield from {first} - flags()
    elif not more and _NAME.fullmatch(first) and not _PATH.fullmatch(first) and first not in ELSEWHERE:
        yield from [] if source().has(first) else [first]


def _is_path(path: str) -> bool:
    """Whether there is such a file, or with a slash at its end such a folder, in storescp or beside it."""
    places = [base / path for base in (PACKAGE, ROOT)]
    return any(place.is_dir() if path.endswith("/") else place.is_file() for place in places)


def is_empty(module: str) -> bool:
    """Whether it has nothing but its docstring."""
    return all(isinstance(node, ast.Expr) for node in ast.parse((PACKAGE / module).read_text()).body)


class PageTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Each path, name and option is one."""
        self.assertEqual([], wrongs(PAGE.text))

    def test_blocks(self) -> None:
        """So is what looks like a path or a name in a block."""
        shown = [word for block in PAGE.blocks() for word in _SHOWN.findall(block.content)]
        self.assertEqual([], wrongs(" ".join(f"``{word}``" for word in shown)))
        self.assertIn("ULProtocol.dataReceived", shown)

    def test_files(self) -> None:
        """The table of floors has each module with something in it, once, and no others."""
        modules = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")]
        rows = [row for row in _ROW.findall(PAGE.section("Where things are")) if not row.endswith("/")]
        self.assertEqual(sorted(module for module in modules if not is_empty(module)), sorted(rows))

    def test_floors(self) -> None:
        """The floors are in the order in which they may import, and below them are those who may import anything."""
        rows = _ROW.findall(PAGE.section("Where things are"))
        floors = dict.fromkeys(row.partition("/")[0].removesuffix(".py") for row in rows)
        self.assertEqual([*FLOORS, "__init__", "__main__"], list(floors))
        self.assertEqual(len(FACADES), len(floors) - len(FLOORS))

    def test_changes(self) -> None:
        """Of each change it is said where it belongs, and where its tests do."""
        _before, *rows = PAGE.section("Where a change belongs").split("\n   * - ")
        self.assertGreater(len(rows), 20)
        for row in rows:
            where, tests, _others = re.split(r"\*Tests:\*|\*And:\*|\Z", row, maxsplit=2)
            self.assertTrue(_LITERAL.search(where), row)
            self.assertIn("``tests/", tests)


class WrongsTests(SynchronousTestCase):
    """What finds the mistakes finds some."""

    def test_right(self) -> None:
        """What is there in any of its forms is no mistake."""
        for right in (
            "``ul/machine.py``, ``ul/`` and ``tests/ul/test_machine.py``",
            "``docs/index.rst``, ``setup.cfg``, ``python contrib/completion/generate.py``",
            "``Config``, ``STATUS_WORDS``, ``_limit``, ``callLater``, ``twisted.cred``",
            "``ULProtocol.dataReceived``, ``Acceptor.provider``, ``Acceptor._sink``, ``IStorage.open``, ``sink.write``",
            "``-d``, ``--durability none``, ``--check``",
        ):
            self.assertEqual([], wrongs(right))

    def test_wrong(self) -> None:
        """What is not there is one, though a word of it is."""
        for wrong in (
            *("ul/machines.py", "machine.py", "storescp/ul", "ul/machine.py/", "tests/nowhere/", "nothing.rst"),
            *("Configs", "no_such_name", "twisted.no_such_module"),
            *("ULProtocol.nothing", "Machine.hold", "Acceptor.write", "IStorage.publish"),
            *("--durable", "-dd"),
        ):
            self.assertEqual([wrong], wrongs(f"``{wrong}``"))
