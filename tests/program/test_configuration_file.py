"""The configuration file: each option by its long name, what wins over it, and which line of it is wrong."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from twisted.python import usage

from storescp.config import Config
from storescp.program import configuration_file
from storescp.program.options import OPTIONS, Option, UsageError
from tests.program import make_directory
from tests.program.test_gate import PUBLIC_KEY, not_installed
from tests.program.test_options import NO_PORT, SECONDS, ExitCodeTestCase, script, twistd
from tests.senders import send
from tests.servers import INCOMING, LOOPBACK, SCRIPT, TWISTD, Ended, ServerTestCase, without
from tests.strategies import PROPERTY

BY_NAME = {option.name: option for option in OPTIONS}
PLACES = {"port", "listen"}

# Each option that takes a number: from where to where.
NUMBERS = {
    "timeout": (1, 31536000),
    "acse-timeout": (1, 31536000),
    "dimse-timeout": (1, 31536000),
    "max-pdu": (4096, 131072),
    "min-free": (0, 2**63 - 1),
    "storage-timeout": (1, 31536000),
    "grace": (0, 31536000),
    "max-associations": (1, 65535),
    "max-associations-per-peer": (1, 65535),
    "max-unassociated": (1, 1024),
    "max-instance-size": (0, 2**63 - 1),
    "max-associate-rq": (4096, 16777216),
    "max-contexts": (1, 128),
    "max-transfer-syntaxes": (1, 65535),
    "max-user-items": (1, 65535),
    "max-command-set": (4096, 16777216),
    "port": (0, 65535),
}
# Each option that takes one of some words.
WORDS = {
    "log-format": ("text", "json"),
    "durability": ("full", "file", "none"),
    "on-duplicate": ("keep", "reject", "overwrite"),
    "tls-profile": ("bcp195", "bcp195-modified"),
}
NEEDED = {"tls-key": "tls-cert", "tls-ca": "tls-cert", "jwt-audience": "jwt-key", "jwt-issuer": "jwt-key"}

# No argument of a process can have a NUL, and no file its name.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
AE_TITLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\"), max_size=16)

Settings = dict[str, Any]  # the value of each option in the file, by its name


def values_of(option: Option) -> SearchStrategy[Any]:
    if option.name in NUMBERS:
        return st.integers(*NUMBERS[option.name])
    if option.name in WORDS:
        return st.sampled_from(WORDS[option.name])
    if option.constant is not None:
        return st.booleans()
    if option.repeated:
        return TEXT | st.lists(TEXT, max_size=3)
    if option.name == "http":
        return TEXT | st.integers(0, 65535)
    return AE_TITLE.filter(str.strip) if option.name == "aetitle" else TEXT


@st.composite
def settings(draw: st.DrawFn, place: bool = True) -> Settings:
    """Options in any order, one of which says where to listen."""
    chosen = {each.name: draw(values_of(each)) for each in draw(st.lists(st.sampled_from(OPTIONS), unique=True))}
    if not chosen.get("listen"):
        chosen.pop("listen", None)
        if place:
            chosen.setdefault("port", 11112)
    elif "port" in chosen:
        del chosen["port"]
    for name in NEEDED.keys() & chosen.keys():
        chosen.setdefault(NEEDED[name], "file")
    return chosen


def line_of(settings: Mapping[str, Any]) -> list[str]:
    """The same on a command line."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words += [f"--{name}"] * value
        else:
            words += [f"--{name}={each}" for each in (value if isinstance(value, list) else [value])]
    return words


# The same as a document, in any of the ways to write it.

_ESCAPES = str.maketrans({**{chr(code): f"\\u{code:04x}" for code in (*range(0x20), 0x7F)}, '"': '\\"', "\\": "\\\\"})
COMMENTS = st.lists(st.sampled_from(["", "  ", "# bogus = 1", '\t# port = """', "#["]), max_size=2)


def basic(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def multi_line(text: str) -> str:
    return '"""\n{}"""'.format("\n".join(line.translate(_ESCAPES) for line in text.split("\n")))


def texts(text: str) -> SearchStrategy[str]:
    written = [basic(text), multi_line(text)]
    if "'" not in text and not any(character < " " or character == "\x7f" for character in text):
        written.append(f"'{text}'")
    return st.sampled_from(written)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return draw(st.sampled_from([str(value), f"+{value}", f"0x{value:x}", f"{value:_}"]))
    if isinstance(value, str):
        return draw(texts(value))
    each = [draw(texts(text)) for text in value]
    return draw(
        st.sampled_from([f"[{','.join(each)}]", "".join(["[ # some\n", *(f"\t{one},\n\n# ]\n" for one in each), "]"])])
    )


@st.composite
def statements(draw: st.DrawFn, chosen: Settings) -> list[list[str]]:
    """The lines of each, with those of comments before it."""
    found = []
    for name, value in chosen.items():
        key = draw(st.sampled_from([name, f'"{name}"', f"'{name}'", f'"\\u{ord(name[0]):04x}{name[1:]}"', f"  {name}"]))
        equals, end = draw(st.sampled_from(["=", " = "])), draw(st.sampled_from(["", "  ", " # 1", '#"""']))
        found.append([*draw(COMMENTS), *f"{key}{equals}{draw(written(value))}{end}".split("\n")])
    return found


@st.composite
def document(draw: st.DrawFn, lines: Iterable[str]) -> bytes:
    """These lines, in one of the ways in which editors write them."""
    end, mark, last = draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans()), draw(st.booleans())
    text = end.join([*lines, *draw(COMMENTS)]) + end * last
    return text.encode("utf-8-sig" if mark else "utf-8")


class FileTestCase(ExitCodeTestCase):
    """The command, within this process, with a file."""

    def setUp(self) -> None:
        self.path = os.path.join(make_directory(self), "storescp.toml")

    def write(self, document: str | bytes) -> None:
        Path(self.path).write_bytes(document.encode() if isinstance(document, str) else document)

    def config(self, document: str | bytes, *line: str) -> Config:
        """What a file and a line say: the same to both command lines."""
        self.write(document)
        config = script("--config", self.path, *line)
        self.assertEqual(config, twistd(*line, f"--config={self.path}"))
        return config

    def refusal(self, document: str | bytes, *line: str) -> str:
        """What both command lines say of a file, in one line that begins with its name."""
        self.write(document)
        line = ("--config", self.path, *line)
        message = str(self.assertRaises(UsageError, script, *line))
        self.assertEqual(message, str(self.assertRaises(usage.UsageError, twistd, *line)))
        self.assert_error(2, message, *line)
        self.assertNotIn("\n", message)
        self.assertEqual(self.path, message[: len(self.path)])
        return message[len(self.path) :]

    def assert_refused(self, number: int, message: str, document: str | bytes, *line: str) -> None:
        self.assertEqual(f", line {number}: {message}", self.refusal(document, *line), document)


class EveryOptionTests(FileTestCase):
    def test_tables(self) -> None:
        """The tables of this test know each option that takes a number."""
        self.assertEqual(set(NUMBERS), {option.name for option in OPTIONS if option.kind is not str})

    def test_each(self) -> None:
        """There is no option of the table that a file cannot set, by its long name, to what it can be set to."""
        for option in OPTIONS:
            value: Any = "text"
            if option.name in NUMBERS:
                value = NUMBERS[option.name][0] + 1
            elif option.name in WORDS:
                value = WORDS[option.name][1]
            elif option.constant is not None or option.repeated:
                value = True if option.constant is not None else ["one", "two"]
            chosen = {option.name: value}
            if option.name not in PLACES:
                chosen["port"] = 11112
            if option.name in NEEDED:
                chosen[NEEDED[option.name]] = "needed"
            text = "".join(f"{name} = {self.plain(each)}\n" for name, each in chosen.items())
            config = self.config(text)
            self.assertEqual(script(*line_of(chosen)), config, text)
            self.assertEqual(option.name != "prefer-uncompr", config != Config(port=11112), text)

    def plain(self, value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(basic, value))}]"
        return basic(value) if isinstance(value, str) else str(value).lower()

    @PROPERTY
    @given(settings(), st.data())
    def test_any(self, chosen: Settings, data: st.DataObject) -> None:
        """Whatever can be asked for is the same from a file as from a command line, however it is written."""
        lines = chain(*data.draw(statements(chosen)))
        self.assertEqual(script(*line_of(chosen)), self.config(data.draw(document(lines))))

    @PROPERTY
    @given(settings(), settings(place=False), st.data())
    def test_command_line_wins(self, chosen: Settings, given: Settings, data: st.DataObject) -> None:
        """What the command line sets counts in place of what the file does; all else is the file's."""
        fields = {BY_NAME[name].field for name, value in given.items() if value not in (False, [])}
        fields |= PLACES if fields & PLACES else set()
        kept = {name: value for name, value in chosen.items() if BY_NAME[name].field not in fields}
        lines = chain(*data.draw(statements(chosen)))
        expected = script(*line_of(kept), *line_of(given))
        self.assertEqual(expected, self.config(data.draw(document(lines)), *line_of(given)))


class MeaningTests(FileTestCase):
    def test_false(self) -> None:
        """A flag that is false sets nothing: not what it could set, nor what another one has set."""
        flags = [option for option in OPTIONS if option.constant is not None]
        for option in flags:
            self.assertEqual(Config(port=1), self.config(f"port = 1\n{option.name} = false\n"))
        self.assertEqual(Config(port=1, verbosity="debug"), self.config("debug = true\nport = 1\nquiet = false\n"))

    def test_exclusive(self) -> None:
        """Of flags that exclude each other the last one wins, as on a command line."""
        self.assertEqual(Config(port=1, verbosity="verbose"), self.config("port = 1\ndebug = true\nverbose = true"))
        self.assertEqual(Config(port=1, verbosity="debug"), self.config("port = 1\nverbose = true\ndebug = true"))
        text = "port = 1\nprefer-big = true\nimplicit = true\nprefer-uncompr = true\nprefer-little = false"
        self.assertEqual(Config(port=1), self.config(text))
        self.assertEqual(Config(port=1, prefer="big"), self.config(text, "-xb"))
        self.assertEqual(Config(port=1, verbosity="quiet"), self.config("port = 1\ndebug = true", "-q"))

    def test_repeated(self) -> None:
        """What may be given more than once is a list, in its order, or one text; a command line replaces all of it."""
        for field in ("allow", "auth"):
            cases: dict[str, tuple[str, ...]] = {
                '["b", "a", "b"]': ("b", "a", "b"),
                '"a, b"': ("a, b",),
                '["a"]': ("a",),
                "[]": (),
                '""': ("",),
            }
            for text, values in cases.items():
                self.assertEqual(self.repeated(field, values), self.config(f"port = 1\n{field} = {text}"))
            text = f'port = 1\n{field} = ["b", "a"]'
            self.assertEqual(self.repeated(field, ("c",)), self.config(text, f"--{field}=c"))

    def repeated(self, field: str, values: tuple[str, ...]) -> Config:
        options: dict[str, Any] = {field: values}
        return Config(port=1, **options)

    def test_port_to_look_at(self) -> None:
        """What may be a port alone may be a number."""
        self.assertEqual(Config(port=1, http="8080"), self.config("port = 1\nhttp = 8080"))
        self.assertEqual(Config(port=1, http="tcp:8080"), self.config('port = 1\nhttp = "tcp:8080"'))

    def test_no_limit(self) -> None:
        """0 is no limit of an instance's size, as on a command line, which may set one again."""
        text = "port = 1\nmax-instance-size = 0\n"
        self.assertEqual(Config(port=1, max_instance_size=None), self.config(text))
        self.assertEqual(Config(port=1, max_instance_size=23), self.config(text, "--max-instance-size=23"))
        text = "port = 1\nmax-instance-size = 23\n"
        self.assertEqual(Config(port=1, max_instance_size=None), self.config(text, "--max-instance-size=0"))

    def test_places(self) -> None:
        """Where to listen is one question: a command line that answers it leaves nothing of the file's answer."""
        for text in ("port = 1", 'listen = "tcp:1"', 'listen = ["tcp:1", "tcp:2"]', 'listen = "tcp:1"\nport = 2'):
            for line, config in (
                (("3",), Config(port=3)),
                (("--port=3",), Config(port=3)),
                (("--listen=tcp:3",), Config(listen=["tcp:3"])),
                (("--listen=tcp:3", "--listen=tcp:4"), Config(listen=["tcp:3", "tcp:4"])),
            ):
                self.assertEqual(config, self.config(text, *line))

    def test_no_place(self) -> None:
        """Where neither says it, or the command line says two, it is refused as ever."""
        for text, line in (("", ()), ("debug = true", ("-v",)), ("port = 1", ("2", "--listen=tcp:3"))):
            self.write(text)
            self.assert_error(2, NO_PORT.format("storescp 11112"), "--config", self.path, *line)

    def test_needed_elsewhere(self) -> None:
        """What is of no use alone may stand in the file with what it needs on the command line, and the reverse."""
        expected = Config(port=1, tls_cert="cert.pem", tls_key="key.pem")
        self.assertEqual(expected, self.config('port = 1\ntls-key = "key.pem"', "--tls-cert=cert.pem"))
        self.assertEqual(expected, self.config('port = 1\ntls-cert = "cert.pem"', "--tls-key=key.pem"))

    def test_empty(self) -> None:
        """A file may say nothing, and a command line without one is as ever; the last file named is read."""
        for text in ("", "\n", "# nothing\n", "\ufeff", " \t"):
            self.assertEqual(Config(port=1), self.config(text, "1"))
        self.assertEqual(Config(port=1), script("--config=missing", "1", "--config", self.path))
        self.assertEqual(Config(port=1), script("1"))

    def test_check(self) -> None:
        """The command line alone says whether to check."""
        self.assert_refused(2, "check: there is no such option", "port = 1\ncheck = true")


# Each kind of value that an option can want, and others, with what is said of them.
NUMBER, SWITCH, ONE_TEXT, SOME_TEXTS = "a number", "true or false", "a text", "a list of texts"
KINDS = {
    "7": (NUMBER, "7"),
    "-7": (NUMBER, "-7"),
    "true": (SWITCH, "True"),
    "false": (SWITCH, "False"),
    '"7"': (ONE_TEXT, "'7'"),
    "'true'": (ONE_TEXT, "'true'"),
    '["7"]': (SOME_TEXTS, "['7']"),
    "[]": (SOME_TEXTS, "[]"),
    "[7]": ("numbers", "[7]"),
    '["a", 7]': ("both", "['a', 7]"),
    '[["a"]]': ("lists", "[['a']]"),
    "7.0": ("a fraction", "7.0"),
    "inf": ("a fraction", "inf"),
    "{a = 7}": ("a table", "{'a': 7}"),
}

# A document, and what is wrong in which line of it.
NO_SUCH = "bogus: there is no such option"
NO_PORT_NUMBER = "port: must be a number, not 'x'"
WRONG: dict[str | bytes, tuple[int, str]] = {
    # unknown keys
    "bogus = 1": (1, NO_SUCH),
    "port = 1\nbogus = 1\n": (2, NO_SUCH),
    "\n\n# bogus = 1\n  # \n\nbogus = 1\n": (6, NO_SUCH),
    "port = 1 # a\n\n# b\n\n\tbogus = 1 # c\n\n# d\n": (5, NO_SUCH),
    "port = 1\nmax_pdu = 8192": (2, "max_pdu: there is no such option; max-pdu is one"),
    "port = 1\nMax-PDU = 8192\n": (2, "Max-PDU: there is no such option"),
    "port = 1\noutput_dir = '.'\n": (2, "output_dir: there is no such option; output-directory is one"),
    "port = 1\naet = 'A'\n": (2, "aet: there is no such option; aetitle is one"),
    "port = 1\n--verbose = true": (2, "--verbose: there is no such option; verbose is one"),
    "port = 1\nconfig = 'a'": (2, "config: there is no such option"),
    "port = 1\nhash-passcode = 'a'": (2, "hash-passcode: there is no such option"),
    "bogus = 1\nport = 'x'": (1, NO_SUCH),  # the first that is wrong
    "port = 'x'\nbogus = 1": (1, NO_PORT_NUMBER),
    # more than one line
    'allow = [\n  "A",\n  # ]\n\n  "B",\n]\nbogus = 1\n': (7, NO_SUCH),
    'users = """\nbogus = 1\n"""\nbogus = 1\n': (4, NO_SUCH),
    "users = '''\nbogus = 1\n# '''\n\nbogus = 1\n": (5, NO_SUCH),
    'users = """\\\n   \\\n   bogus = \\"""1\n"""\nbogus = 1': (5, NO_SUCH),
    'port = 1\nbogus = """\nport = "x"\n"""\n': (2, NO_SUCH),
    "port = 1\nbogus = [\n\n1,\n\n]\n": (2, NO_SUCH),
    'port = 1\n\n# a\nallow = [\n"A",\n1,\n]\nquiet = true': (4, "allow: must be a list of texts, not ['A', 1]"),
    'port = 1\naetitle = """\nA\nB"""\n': (
        2,
        r"aetitle: must be printable ASCII without backslashes, and not blank: 'A\nB'",
    ),
    # keys of any kind
    'port = 1\n"bogus" = 1': (2, NO_SUCH),
    "port = 1\n'bogus' = 1": (2, NO_SUCH),
    'port = 1\n"\\u0062ogus" = 1': (2, NO_SUCH),
    "debug = true\n'port' = 'x'\n": (2, NO_PORT_NUMBER),
    "debug = true\n\"p\\u006frt\" = 'x'\n": (2, NO_PORT_NUMBER),
    'port = 1\n"" = 1': (2, ": there is no such option"),
    'port = 1\n"a b" = 1': (2, "a b: there is no such option"),
    'port = 1\n"a.b" = 1': (2, "a.b: there is no such option"),
    "port = 1\n\nbogus.port = 1\nbogus.listen = 2\n": (3, NO_SUCH),
    'port = 1\n"bogus" . port = 1\n': (2, NO_SUCH),
    "debug = true\nport.number = 1\nport.b = 2\n": (2, "port: must be a number, not {'number': 1, 'b': 2}"),
    "port = 1\n\n[bogus]\nport = 1\n": (3, NO_SUCH),
    "port = 1\n[ bogus . a ]\nbogus = 1\n": (2, NO_SUCH),
    "port = 1\n[[bogus]]\na = 1\n[[bogus]]\n": (2, NO_SUCH),
    "debug = true\n[port]\nnumber = 1\n": (2, "port: must be a number, not {'number': 1}"),
    "port = 1\n[a]\nbogus = 1\n[bogus]\n": (2, "a: there is no such option"),
    "bogus = {port = 1, listen = [\n2]}\n": (1, NO_SUCH),
    # out of range, what another option is needed for, and what excludes another one
    "port = 1\nlisten = 'tcp:1'": (2, "listen: a port is given too: give one of them"),
    "\nlisten = []\nport = 1": (2, "listen: a port is given too: give one of them"),
    "# a\nport = 65536\n": (2, "port: must be from 0 to 65535, not 65536"),
    "debug = true\nport = -1": (2, "port: must be from 0 to 65535, not -1"),
    "port = 1\n\nmax-pdu = 100\n": (3, "max-pdu: must be from 4096 to 131072, not 100"),
    "port = 1\ntimeout = 0\n": (2, f"timeout: {SECONDS}0"),
    "port = 1\nmax-instance-size = -1\n": (2, "max-instance-size: must be from 1 to 9223372036854775807, not -1"),
    "min-free = 0x8000000000000000\nport = 1": (
        1,
        "min-free: must be from 0 to 9223372036854775807, not 9223372036854775808",
    ),
    "port = 1\ndurability = 'most'\n": (2, "durability: must be one of full, file, none, not most"),
    "port = 1\nlog-format = ''\n": (2, "log-format: must be one of text, json, not "),
    "port = 1\naetitle = ''\n": (2, "aetitle: must have 1 to 16 characters, not 0"),
    "port = 1\n# a\ntls-key = 'a'\n": (3, "tls-key: is of no use without --tls-cert"),
    "port = 1\njwt-issuer = 'a'\nusers = 'b'\n": (2, "jwt-issuer: is of no use without --jwt-key"),
    # ends of lines, and bytes
    "# a\r\nport = 1\r\n\r\nbogus = 1\r\n": (4, NO_SUCH),
    "port = 1\r\nbogus = 1": (2, NO_SUCH),
    'users = """\r\n\r\n"""\r\nallow = [\r\n]\r\nbogus = 1\r\n': (6, NO_SUCH),
    "port = 1\nquiet = true\r\nbogus = 1\n": (3, NO_SUCH),
    "\ufeffbogus = 1": (1, NO_SUCH),
    "\ufeff\nport = 1\nbogus = 1": (3, NO_SUCH),
    "# ä\nusers = 'ö'\nbogus = 1": (3, NO_SUCH),
    "users = 'a\u2028b\x85c'\nbogus = 1": (2, NO_SUCH),  # ends of lines elsewhere, not here
    "port = 1\n# ä\n".encode("latin-1"): (2, "it is not encoded in UTF-8"),
    b"\xff\n": (1, "it is not encoded in UTF-8"),
    b"port = 1\n\n\xff": (3, "it is not encoded in UTF-8"),
    b"port = 1\r\n\r\n\xff\r\n\xff": (3, "it is not encoded in UTF-8"),
    b"\xef\xbb\xbfport = 1\n\xff": (2, "it is not encoded in UTF-8"),
    b"\xef\xbb\xbf\xff": (1, "it is not encoded in UTF-8"),
    b"port = 1\n# \xed\xa0\x80\n": (2, "it is not encoded in UTF-8"),  # half of a character
    "port = 1\n".encode("utf-16"): (1, "it is not encoded in UTF-8"),
}
# What is no document, and the line that is wrong: where it ends too soon, the last one.
NO_DOCUMENT: dict[str, int] = {
    "port = 1\nport = 2\n": 2,
    "port = 1\r\nport = 2\r\n": 2,
    "port = 1\n'port' = 2\nbogus = 1": 2,
    "port = 1\nquiet = true\nport = [\n\n]": 5,  # the library tells the end of it
    "port = 1\n\nport\nquiet = true\n": 3,
    "port = 1\n= 2\nquiet = true\n": 2,
    "port = 1\nlisten = tcp:1\nquiet = true\n": 2,
    "port = 1 quiet = true\nbogus = 1\n": 1,
    'port = 1\nusers = "a\nquiet = true\n': 2,
    "port = 1\nverbose = True\n": 2,
    "port = 007\n": 1,
    "# a\n\nport = 1.\n": 3,
    "bogus = 1\nport = .\n": 2,  # what it says is not looked at
    "port = 1\n\x1b[31m = 1\n": 2,
    "port = 1\nusers = '\x1b'\n": 2,
    "port = 1\nusers = '\0'\n": 2,
    "port = 1\nusers = 'a\rb'\n": 2,
    "port = 1\n\nallow = ['A'": 3,
    "port = 1\nallow = ['A',\n'B'": 3,
    "port = 1\nallow = ['A',\n'B',\n\n": 3,
    'port = 1\n\nusers = """': 3,
    'port = 1\r\n\r\nusers = """\r\n': 3,
    "port = 1\nusers =": 2,
    "port = 1\nusers = \n": 2,
    "port = 1\n[a": 2,
}

# A document that its lines are right in, and what a start has against which of them.
NOT_STARTED: dict[str, tuple[int, str]] = {
    "# a\n\nlisten = 'carrier-pigeon:1'\n": (
        3,
        "listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'",
    ),
    "quiet = true\nlisten = [\n 'tcp:0:interface=127.0.0.1',\n 'tcp:dicom']\n": (
        2,
        "listen: tcp:dicom: invalid literal for int() with base 10: 'dicom'",
    ),
    "quiet = true\r\nlisten = 'tls:tcp:2762'\r\n": (2, "listen: tls:tcp:2762: it needs --tls-cert"),
    "quiet = true\nlisten = []\n": (2, "listen: neither a port nor an endpoint to listen on is given"),
    "tls-cert = 'cert.pem'\nlisten = 'tcp:104'\n": (
        2,
        "listen: with --tls-cert one of them must begin with tls:, such as tls:tcp:2762",
    ),
    "port = 0\n\nhttp = 'carrier-pigeon:1'\n": (3, "http: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'"),
    "port = 0\nallow = [\n'CT1@10.1.2.3/24']": (
        2,
        "allow: CT1@10.1.2.3/24: 10.1.2.3/24 is neither the network 10.1.2.0/24 nor an address",
    ),
    "port = 0\nauth = 'nobody'\n": (2, "auth: nobody: there is no such plugin (twistd ftp --help-auth)"),
    "auth = ['anonymous', 'anonymous']\nport = 0": (
        1,
        "auth: two of --users, --jwt-key and --auth verify the same kind of user identity",
    ),
}


class LineTests(FileTestCase):
    def test_wrong(self) -> None:
        """What is wrong is told with the line where it begins, whatever stands before it."""
        for text, (number, message) in WRONG.items():
            self.assert_refused(number, message, text)

    def test_no_document(self) -> None:
        """What is no document is told with the library's words, and the line that it means."""
        for text, number in NO_DOCUMENT.items():
            message = self.refusal(text)
            line = f", line {number}: "
            self.assertEqual(line, message[: len(line)], text)
            self.assertRegex(message[len(line) :], r"^[A-Z].*[a-z]")
            self.assertNotIn(" line ", message[len(line) :])

    def test_kinds(self) -> None:
        """Each option refuses values of all kinds but its own."""
        for option in OPTIONS:
            wanted = [ONE_TEXT, NUMBER] if option.name == "http" else [ONE_TEXT]
            if option.name in NUMBERS:
                wanted = [NUMBER]
            elif option.constant is not None:
                wanted = [SWITCH]
            elif option.repeated:
                wanted = [SOME_TEXTS, ONE_TEXT]
            for value, (kind, shown) in KINDS.items():
                if kind not in wanted:
                    self.write(f"# a\n{option.name} = {value}\n")
                    error = self.assertRaises(UsageError, script, "--config", self.path, "1")
                    message = f"{self.path}, line 2: {option.name}: must be {wanted[0]}, not {shown}"
                    self.assertEqual(message, str(error))

    def test_of_two(self) -> None:
        """Of options that set the same, the one that has set it is told; a command line's value is told as ever."""
        self.write("port = 1\ntls-ca = 'a'\n")
        self.assert_error(
            2,
            "argument --tls-key: is of no use without --tls-cert",
            *("--config", self.path, "--tls-key=a"),
        )
        self.write("port = 1\nmax-pdu = 100\n")
        self.assert_error(
            2,
            "argument -pdu/--max-pdu: must be from 4096 to 131072, not 101",
            *("--config", self.path, "-pdu", "101"),
        )
        self.assertEqual(Config(port=1, max_pdu=8192), script("--config", self.path, "-pdu", "8192"))
        self.write("port = 65536\n")
        self.assert_error(2, "argument port: must be from 0 to 65535, not 65537", "--config", self.path, "65537")

    def test_not_started(self) -> None:
        """So is what only a start finds wrong."""
        for text, (number, message) in NOT_STARTED.items():
            self.write(text)
            self.assert_error(2, f"{self.path}, line {number}: {message}", "--config", self.path)

    def test_not_started_for_the_command_line(self) -> None:
        """What a start has against a value of the command line is told as ever, though the file has another one."""
        self.write("listen = 'tcp:0'\nauth = 'anonymous'\n")
        listen, auth = "--listen=carrier-pigeon:1", "--auth=nobody"
        self.assert_error(
            2,
            "argument --listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'",
            *("--config", self.path, listen),
        )
        self.assert_error(
            2,
            "argument --auth: nobody: there is no such plugin (twistd ftp --help-auth)",
            *("--config", self.path, auth),
        )
        self.write("auth = ['anonymous', 'anonymous']\n")
        message = "auth: two of --users, --jwt-key and --auth verify the same kind of user identity"
        self.assert_error(2, f"{self.path}, line 1: {message}", "--config", self.path, "0")

    def test_two_checkers(self) -> None:
        """Two who verify the same are told by the line of --auth."""
        key = Path(self.path).with_name("key.pem")
        key.write_text(PUBLIC_KEY, encoding="ascii")
        self.write(f"port = 0\njwt-key = '{key}'\n\nauth = ['memory:a:b',\n'memory:c:d']\n")
        message = "auth: two of --users, --jwt-key and --auth verify the same kind of user identity"
        self.assert_error(2, f"{self.path}, line 4: {message}", "--config", self.path)

    @PROPERTY
    @given(
        settings(),
        st.sampled_from(
            [
                ("bogus = 1", NO_SUCH),
                ("'bogus' = [\n# ]\n\n'a', ]", NO_SUCH),
                ("bogus = '''\nbogus = 1\n# '''", NO_SUCH),
                ("bogus . port = 1", NO_SUCH),
                ("bogus = {port = 1}", NO_SUCH),
                ("grace = 'x'", "grace: must be a number, not 'x'"),
                ("grace = '''\n\ngrace = 1'''", r"grace: must be a number, not '\ngrace = 1'"),
                ('"grac\\u0065" = -1', "grace: must be from 0 to 31536000, not -1"),
                ("ignore = 'yes'", "ignore: must be true or false, not 'yes'"),
                ("allow = [\n# a\n1]", "allow: must be a list of texts, not [1]"),
            ]
        ),
        st.data(),
    )
    def test_anywhere(self, chosen: Settings, bad: tuple[str, str], data: st.DataObject) -> None:
        """The line is right wherever in whatever document it is."""
        for name in ("grace", "ignore", "allow"):
            chosen.pop(name, None)
        all_lines = data.draw(statements(chosen))
        place = data.draw(st.integers(0, len(all_lines)))
        before = [*chain(*all_lines[:place]), *data.draw(COMMENTS)]
        lines = [*before, *bad[0].split("\n"), *chain(*all_lines[place:])]
        self.write(data.draw(document(lines)))
        error = self.assertRaises(UsageError, script, "--config", self.path)
        self.assertEqual(f"{self.path}, line {len(before) + 1}: {bad[1]}", str(error), lines)

    def test_long(self) -> None:
        """A mistake below a list of thousands is told in no time to speak of."""
        devices = "".join(f'  "CT{number}@10.1.2.3", # of room {number}\n' for number in range(3000))
        with self.quickly():
            self.assert_refused(3003, NO_SUCH, f"allow = [\n{devices}]\nbogus = 1\n")
        with self.quickly():
            self.assert_refused(3001, NO_SUCH, "# a comment\n" * 3000 + "bogus = 1\n")

    def quickly(self) -> Any:
        """That the library is asked to read no more than some documents, whole ones or parts."""
        loads, error_type = configuration_file._library()
        calls: list[str] = []

        def counted(text: str) -> dict[str, Any]:
            calls.append(text)
            if len(calls) > 100:
                raise AssertionError("it is read again and again")
            return loads(text)

        return mock.patch.object(configuration_file, "_library", lambda: (counted, error_type))

    def test_more_than_python_takes(self) -> None:
        """What is nested too deep, or a number of too many digits, is told in one line, too."""
        for text in (
            f"port = 1\nallow = {'[' * 100_000}",
            f"port = 1\nbogus = {'{a = ' * 100_000}",
            f"port = 1\nmin-free = {'1' * 5000}\n",
            f"port = 1\nmin-free = 0x{'f' * 5000}\n",
            f"port = 1\nallow = [0x{'f' * 5000}]\n",
        ):
            self.refusal(text)

    def test_no_name_of_a_file(self) -> None:
        """A text that no command line could have is refused, not handed to what opens files."""
        for name in ("users", "allow-file", "audit-log", "tls-cert", "jwt-key", "output-directory", "http"):
            message = self.refusal(f'port = 1\n{name} = "a\\u0000b"\n')
            self.assertEqual(f", line 2: {name}: ", message[: len(name) + 12])
        for name in ("listen", "allow", "auth"):
            message = self.refusal(f'port = 1\n\n{name} = ["a", "\\u0000"]\n')
            self.assertEqual(f", line 3: {name}: ", message[: len(name) + 12])


class HostileTests(FileTestCase):
    """What a file or its name says does nothing to the terminal that shows it."""

    BAD = "a\x1b[31m\n\x9b\u202e\x7f"
    SHOWN = r"a\x1b[31m\x0a\x9b\u202e\x7f"

    def test_keys(self) -> None:
        """A key is shown escaped."""
        self.assert_refused(2, f"{self.SHOWN}: there is no such option", f"port = 1\n{basic(self.BAD)} = 1\n")

    def test_values(self) -> None:
        """So is a value, of the wrong kind or of none that can be, by whomever it is refused."""
        text = basic(self.BAD)
        self.assert_refused(1, rf"port: must be a number, not {self.BAD!r}", f"port = {text}\n")
        self.assert_refused(
            2, f"durability: must be one of full, file, none, not {self.SHOWN}", f"port = 1\ndurability = {text}\n"
        )
        self.assert_refused(2, f"quiet: must be true or false, not {[self.BAD]!r}", f"port = 1\nquiet = [{text}]")
        self.write(f"listen = {text}")
        _, _, error = self.run_line("--config", self.path)
        prefix = f"storescp: error: {self.path}, line 1: listen: {self.SHOWN}: Unknown endpoint type: "
        self.assertEqual((prefix, 1), (error[: len(prefix)], error.count("\n")))
        self.assertEqual([], [character for character in error[:-1] if not character.isprintable()])

    def test_paths(self) -> None:
        """So is the name of the file, also where it is no text at all, and whatever is wrong with it."""
        directory = make_directory(self)
        path = os.path.join(directory, f"{self.BAD}\udcff")
        shown = f"{directory}/{self.SHOWN}\\udcff"
        line = ("--config", path)
        self.assert_error(1, f"{shown}: No such file or directory", *line)
        Path(path).write_text("port = 1\nbogus = 1")
        self.assert_error(2, f"{shown}, line 2: {NO_SUCH}", *line)
        Path(path).write_text("port = 1\nbogus")
        _, _, error = self.run_line(*line)
        self.assertEqual(f"storescp: error: {shown}, line 2: ", error[: len(shown) + 27])
        Path(path).write_bytes(b"\xff")
        self.assert_error(2, f"{shown}, line 1: it is not encoded in UTF-8", *line)
        os.unlink(path)
        os.mkdir(path)
        error = self.assertRaises(usage.UsageError, twistd, *line)
        self.assertEqual(f"{shown}: Is a directory", str(error))


class UnreadableTests(FileTestCase):
    def test_each(self) -> None:
        """A file that cannot be read is told in one line with exit code 1, also where a line is wrong beside it."""
        directory = os.path.dirname(self.path)
        fifo, loop = os.path.join(directory, "fifo"), os.path.join(directory, "loop")
        os.mkfifo(fifo)
        os.symlink("loop", loop)
        for path, message in (
            (self.path, f"{self.path}: No such file or directory"),
            (os.path.join(self.path, "x"), f"{self.path}/x: No such file or directory"),
            (directory, f"{directory}: Is a directory"),
            (fifo, f"{fifo}: it is no regular file"),
            ("/dev/null", "/dev/null: it is no regular file"),
            (loop, f"{loop}: Too many levels of symbolic links"),
            ("", ": No such file or directory"),
        ):
            self.assert_error(1, message, "--config", path, "11112")
            self.assert_error(1, message, "--config", path)
            self.assert_error(1, message, "--config", path, "--check", "11112")
            self.assertEqual(message, str(self.assertRaises(usage.UsageError, twistd, "--config", path, "1")))

    def test_link(self) -> None:
        """A link to a file is as good as the file."""
        self.write("port = 1")
        os.symlink(self.path, f"{self.path}.link")
        self.assertEqual(Config(port=1), script("--config", f"{self.path}.link"))


class LibraryTests(FileTestCase):
    """tomllib from Python 3.11 on, and tomli, which is the same, before."""

    LIBRARY = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    OLD = SimpleNamespace(version_info=(3, 10, 99))

    def test_tomli(self) -> None:
        """Before Python 3.11 tomli is asked, and nothing else."""
        self.patch(configuration_file, "sys", self.OLD)
        with not_installed("tomllib", ""), mock.patch.dict(sys.modules, {"tomli": self.LIBRARY}):
            self.assertEqual(Config(port=1), self.config("port = 1"))
            self.assert_refused(2, NO_SUCH, "port = 1\nbogus = 1")
            self.assertEqual(", line 2: ", self.refusal("port = 1\nbogus = .\n\n")[:10])

    def test_tomllib(self) -> None:
        """From then on tomllib is, and tomli need not be there."""
        self.patch(configuration_file, "sys", SimpleNamespace(version_info=(3, 11, 0)))
        with not_installed("tomli", ""), mock.patch.dict(sys.modules, {"tomllib": self.LIBRARY}):
            self.assertEqual(Config(port=1), self.config("port = 1"))
            self.assert_refused(2, NO_SUCH, "port = 1\nbogus = 1")

    def test_not_installed(self) -> None:
        """Where tomli is needed and not there, it is said how to get it; without --config nobody asks for it."""
        self.patch(configuration_file, "sys", self.OLD)
        self.write("port = 1")
        message = "import of tomli halted; None in sys.modules; pip install 'storescp[config]'"
        with not_installed("tomli", ""):
            self.assert_error(1, message, "--config", self.path)
            self.assertEqual(message, str(self.assertRaises(usage.UsageError, twistd, "--config", self.path)))
            self.assertEqual(Config(port=1), script("1"))


IMPORTS = (sys.executable, "-X", "importtime", *SCRIPT[1:])


class ProcessTests(ServerTestCase):
    """Whole programs."""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "received").mkdir()
        self.file = self.directory / "storescp.toml"
        self.file.write_text(
            "# ours\n"
            'listen = "tcp:0:interface=127.0.0.1"\n'
            f"output-directory = {basic(str(self.directory / 'received'))}\n"
            "verbose = true\n"
        )
        self.received = sorted(
            ["received", "storescp.toml", *(f"received/{name}" for name in (*INCOMING, "CT.1.2.3.4.5.6"))]
        )

    def test_served(self) -> None:
        """A server of either kind does what its file says."""
        for command in (SCRIPT, TWISTD):
            server = self.serve("--config", str(self.file), command=command)
            send(server.address)
            ended = server.stop()
            self.assertEqual(0, ended.code)
            self.assertIn("Storing DICOM file: CT.1.2.3.4.5.6\n", ended.stdout + ended.stderr)
            self.assertEqual(self.received, self.left)

    def test_refused(self) -> None:
        """What is wrong with a file is one line, of twistd's with its usual form and exit code 1; nothing is left."""
        self.file.write_text("port = 0\n\nbogus = 1\n")
        bogus = "storescp.toml, line 3: bogus: there is no such option"
        by_script = self.run_program("--config=storescp.toml")
        by_twistd = [self.run_program("--config", name, command=TWISTD) for name in ("storescp.toml", "missing")]
        self.assertEqual(Ended(2, "", f"storescp: error: {bogus}\n"), by_script.ended())
        for program, message in zip(by_twistd, (bogus, "missing: No such file or directory"), strict=True):
            code, told = program.ended().code, program.stdout + program.stderr
            self.assertEqual((1, True), (code, told.splitlines()[-1].endswith(f": {message}")), told)
            self.assertNotIn("Traceback", told)
        self.assertEqual(["received", "storescp.toml"], self.left)

    def test_not_permitted(self) -> None:
        """So is a file that this user must not read."""
        self.file.chmod(0)
        program = self.run_program("--config", "storescp.toml", command=without("dac_override,-dac_read_search"))
        self.assertEqual(Ended(1, "", "storescp: error: storescp.toml: Permission denied\n"), program.ended())

    def test_imports(self) -> None:
        """A server reads files in TOML where it is given one, else imports nothing for it, nor what only prints."""
        instead = {f"storescp.program.{name}" for name in ("check", "conformance", "printing")}
        with_file = self.imported("--config", str(self.file))
        self.assertEqual(1, len(with_file & {"tomllib", "tomli", *instead}))
        without_one = self.imported(LOOPBACK)
        self.assertIn("storescp.program.configuration_file", without_one)
        self.assertEqual(set(), without_one & {"tomllib", "tomli", *instead})

    def imported(self, *line: str) -> set[str]:
        """The modules that a server has imported until its end."""
        server = self.serve(*line, command=IMPORTS)
        send(server.address)
        ended = server.stop()
        self.assertEqual(0, ended.code)
        names = [
            line.rsplit("|", 1)[1].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")
        ]
        return {*names, *(name.partition(".")[0] for name in names)}  # that of a package may be missing
