"""ConfigurationFile: options from a file in TOML, each by its long name."""

import codecs
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import attrs

from storescp.errors import CannotStart
from storescp.program.options import ENDPOINT, OPTIONS, Option, UsageError
from storescp.server.files import content

_BY_NAME = {option.name: option for option in OPTIONS}
_UNSET = object()  # what false of a flag means: as if it was not there
_NUMBERED = re.compile(r"(.+) \(at line (\d+), column \d+\)", re.DOTALL)
_NOTHING = re.compile(r"\s*(#|$)")
_LAST = re.compile(r"""[\]}]|\'{3}|"{3}""")  # the last line of a value of several has one of these


@attrs.frozen
class ConfigurationFile:
    """The values of a file, by the attribute of `Config` that they set, and which key has set each."""

    path: str = ""
    text: str = attrs.field(default="", repr=False)
    values: dict[str, Any] = attrs.field(factory=dict)
    keys: dict[str, str] = attrs.field(factory=dict)

    @classmethod
    def read(cls, path: str | None) -> "ConfigurationFile":
        """That of `path`; an empty one for None. Raises `UsageError`, and `CannotStart` where it cannot be read."""
        if path is None:
            return cls()
        file = cls(path, _decoded(path))
        for key, value in _document(path, file.text).items():
            file._take(key, value)
        return file

    def _take(self, key: str, value: Any) -> None:
        option = _BY_NAME.get(key)
        if option is None:
            from difflib import get_close_matches  # noqa: PLC0415  # most servers make no mistake

            close = get_close_matches(key, _BY_NAME, 1)
            raise self._complaint(key, f"there is no such option{f'; {close[0]} is one' if close else ''}")
        try:
            value = _value(option, value)
        except ValueError as error:
            raise self._complaint(key, str(error)) from None
        if value is not _UNSET:
            self.values[option.field] = value
            self.keys[option.field] = key

    def complaint(self, field: str, message: str) -> UsageError:
        """A complaint about the value of this attribute of `Config`."""
        return self._complaint(self.keys[field], message)

    def _complaint(self, key: str, message: str) -> UsageError:
        return UsageError(f"{self.path}, line {_line_of(self.text, key)}: {key}: {message}")


def _decoded(path: str) -> str:
    encoded = content(path).removeprefix(codecs.BOM_UTF8)
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: it is not encoded in UTF-8") from None


def _document(path: str, text: str) -> dict[str, Any]:
    loads, error_type = _library()
    try:
        document: dict[str, Any] = loads(text)
    except error_type as error:
        numbered = _NUMBERED.fullmatch(str(error))
        if numbered:
            raise UsageError(f"{path}, line {numbered[2]}: {numbered[1]}") from None
        last = text.rstrip().count("\n") + 1
        raise UsageError(f"{path}, line {last}: {error}") from None  # it says: at the end of the document
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or as many brackets
        raise UsageError(f"{path}: {error}") from None
    return document


def _library() -> tuple[Callable[[str], dict[str, Any]], type[ValueError]]:
    try:
        # The same library under two names. Most servers have no such file, and need neither.
        library = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError as error:
        raise CannotStart(f"{error}; pip install 'storescp[config]'") from None
    return library.loads, library.TOMLDecodeError


def _value(option: Option, value: Any) -> Any:
    """What a value of the file means to `Config`. Raises ValueError."""
    if option.constant is not None:
        return (option.constant if value else _UNSET) if isinstance(value, bool) else _wrong("true or false", value)
    if option.repeated:
        values = value if isinstance(value, list) else [value]
        return tuple(_text(each) if isinstance(each, str) else _wrong("a list of texts", value) for each in values)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if is_number and (option.kind is not str or option.metavar == ENDPOINT):
        return option.kind(str(value))
    if option.kind is not str:
        return _wrong("a number", value)
    return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _wrong("a text", value)
    if "\0" in value:  # which no command line could have, and nothing that opens a file takes
        raise ValueError("must have no NUL")
    return str(value)


def _wrong(wanted: str, value: object) -> Any:
    raise ValueError(f"must be {wanted}, not {value!r}")


def _line_of(text: str, key: str) -> int:
    """The number of the line where the statement of a key begins."""
    # The library does not tell. But each statement can be read by itself, and the first line that ends one ends it.
    loads, error_type = _library()
    lines = text.replace("\r\n", "\n").split("\n")
    begin = 0
    for end, line in enumerate(lines, 1):
        if begin + 1 == end and _NOTHING.match(line):
            begin = end
            continue
        if begin + 1 < end and not _LAST.search(line):
            continue
        try:
            statement = loads("\n".join(lines[begin:end]))
        except error_type:
            continue
        if key in statement:
            break
        begin = end
    return begin + 1
