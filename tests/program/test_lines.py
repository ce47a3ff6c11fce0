# mypy: allow-untyped-calls
"""How the log is printed: text as it always was, text with the ids of associations, and JSON."""

import io
import json
import re
import socket
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogPublisher,
    formatEventAsClassicLogText,
)
from twisted.python import log as legacy
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from storescp.config import Config
from storescp.program.lines import JSONObserver, TextObserver, log_observer, twistd_observer
from tests.senders import ABORT_BY_USER, ASSOCIATE_RQ, Sender, c_store, data_set_with, send
from tests.servers import LOOPBACK, Server, ServerTestCase, wait_until, without_addresses

ID = "3f9a2c-17"
AT = 1795811282.3295  # seconds
TIME = "2026-11-27T20:28:02.329Z"
STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
KEYS = ["time", "level", "logger", "association", "message"]

HOSTILE = '\0\n\r\t\x1b[2J\x7f\x85\x9b\u202e\u2028\ud800{brace}\\ " \xe9 \u65e5'
# What a terminal, or a program that reads lines, could take for more than text is visible; all else stays.
HARMLESS = r"\x00\x0a\x0d\x09\x1b[2J\x7f\x85\x9b\u202e\u2028\ud800{brace}\ " + '" \xe9 \u65e5'


def printed(observer: Callable[[io.StringIO], Any], log: Callable[[Logger], object], name: str = "storescp") -> str:
    """What is printed when this is logged."""
    stream = io.StringIO()
    log(Logger(namespace=name, observer=observer(stream)))
    return stream.getvalue()


def as_json(verbosity: str, log: Callable[[Logger], object], name: str = "storescp", **options: Any) -> list[Any]:
    """The records, each on a line of ASCII, with the time that is always theirs; it is left out."""
    text = printed(lambda stream: JSONObserver(stream, verbosity, **options), log, name)
    assert text.isascii()
    assert text.count("\n") == text.endswith("\n") + text[:-1].count("\n")
    records = list(map(json.loads, text.splitlines()))
    for record in records:
        assert STAMP.fullmatch(record.pop("time")), text
    return records


def record(message: str, level: str = "info", logger: str = "storescp", association: str | None = None) -> Any:
    return {"level": level, "logger": logger, "association": association, "message": message}


def each_level(log: Logger) -> None:
    for level in LogLevel.iterconstants():
        log.emit(level, "at {name}", name=level.name)


def failing(log: Logger) -> None:
    try:
        raise ValueError("two\nlines \x1b")
    except ValueError:
        log.failure("It failed", association=ID)


class JSONTests(SynchronousTestCase):
    """A line of JSON."""

    def test_line(self) -> None:
        """It is one object, in the order in which it is read, without spaces."""
        stream = io.StringIO()
        JSONObserver(stream, "verbose")(
            {
                "log_time": AT,
                "log_level": LogLevel.info,
                "log_namespace": "storescp",
                "log_format": "{text}",
                "text": "Association Accepted",
                "association": ID,
                "other": "is not shown",
            }
        )
        self.assertEqual(
            f'{{"time":"{TIME}","level":"info","logger":"storescp","association":"{ID}",'
            '"message":"Association Accepted"}\n',
            stream.getvalue(),
        )

    def test_none(self) -> None:
        """Of no association there is null, be that said or not."""

        def twice(log: Logger) -> None:
            log.info("no")
            log.info("no", association=None)

        expected = [record("no"), record("no")]
        self.assertEqual(expected, as_json("verbose", twice))

    def test_summary(self) -> None:
        """A summary is the last of its keys."""
        text = printed(
            lambda stream: JSONObserver(stream, "verbose"),
            lambda log: log.info("It ended", association=ID, summary={"instances": 3, "peer": "\x1b\xe9"}),
        )
        self.assertTrue(
            text.endswith(',"message":"It ended","summary":{"instances":3,"peer":"\\u001b\\u00e9"}}\n'), text
        )
        self.assertEqual([*KEYS, "summary"], list(json.loads(text)))

    def test_time(self) -> None:
        """The time is that of the event, in UTC, whatever the zone is, cut to milliseconds."""
        for seconds, time in (
            (AT, TIME),
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1e9 + 0.9999, "2001-09-09T01:46:40.999Z"),
        ):
            stream = io.StringIO()
            JSONObserver(stream, "verbose")(
                {"log_time": seconds, "log_level": LogLevel.info, "log_namespace": "storescp", "log_format": "now"}
            )
            self.assertEqual(time, json.loads(stream.getvalue())["time"])

    def test_levels(self) -> None:
        """Each verbosity shows the levels that text has: an E is an error."""
        records = [record(f"at {level}", level) for level in ("debug", "info", "warn", "error")]
        records.append(record("at critical", "error"))
        shown = {"quiet": [], "normal": records[2:], "verbose": records[1:], "debug": records}
        self.assertEqual(shown, {verbosity: as_json(verbosity, each_level) for verbosity in shown})

    def test_logger(self) -> None:
        """It says which part of the program speaks."""
        name = "storescp.storage.directory"
        expected = [record("at warn", "warn", name), record("at error", "error", name)]
        self.assertEqual(expected, as_json("normal", each_level, name)[:2])

    def test_others(self) -> None:
        """Of what others log only errors are shown, with -q none; or, where asked, all that is not for debugging."""
        for all_of_them in (False, True):
            for verbosity in ("quiet", "normal", "verbose", "debug"):
                records = as_json(verbosity, each_level, "twisted.internet", all_of_them=all_of_them)
                errors = [] if verbosity == "quiet" else ["at error", "at critical"]
                expected = ["at info", "at warn", "at error", "at critical"] if all_of_them else errors
                self.assertEqual(expected, [each["message"] for each in records], (verbosity, all_of_them))

    def test_block(self) -> None:
        """Several lines are one message, with line feeds that the log itself has put there and no others."""
        self.assertEqual(
            [record("Parameters:\n  a\n\n  b\\x0dc")],
            as_json("verbose", lambda log: log.info("Parameters:\n  a\n\n  b\rc")),
        )

    def test_failure(self) -> None:
        """A failure is one message, too: what was to be done, and the error in words."""
        self.assertEqual([record("It failed\ntwo\nlines \\x1b", "error", association=ID)], as_json("normal", failing))

    def test_traceback(self) -> None:
        """-d shows the traceback of a failure, and nothing else does."""
        for verbosity in ("normal", "verbose"):
            (short,) = as_json(verbosity, failing)
            self.assertNotIn("Traceback", short["message"])
        (long,) = as_json("debug", failing)
        lines = long["message"].split("\n")
        self.assertEqual(["It failed", "Traceback (most recent call last):"], lines[:2])
        self.assertEqual(["builtins.ValueError: two", "lines \\x1b"], lines[-2:])

    def test_hostile(self) -> None:
        """What a peer could have sent is escaped as in text, and then as JSON wants it."""
        for text, shown in (
            (HOSTILE.replace("\n", ""), HARMLESS.replace(r"\x0a", "")),
            ("</script>\u2029", "</script>\\u2029"),
            ("", ""),
        ):
            self.assertEqual([record(shown)], as_json("verbose", lambda log: log.info("{text}", text=text)))  # noqa: B023

    def test_same_as_text(self) -> None:
        """Whatever is logged, its message has the lines of text."""
        for verbosity in ("normal", "debug"):
            for log in (failing, each_level, lambda log: log.warn("{text}", text=HOSTILE)):
                lines = printed(lambda stream: TextObserver(stream, verbosity), log).splitlines()  # noqa: B023
                records = as_json(verbosity, log)
                messages = [line for each in records for line in each["message"].split("\n")]
                self.assertEqual([line[3:] for line in lines], messages)

    def test_event_without_anything(self) -> None:
        """An event without a level or a text, as old code sends it, harms nothing; nor does one that has no format."""
        for all_of_them in (False, True):
            stream = io.StringIO()
            observer = JSONObserver(stream, "debug", all_of_them)
            old = LogPublisher(observer)
            legacy.LogPublisher(old, old).msg("from", "of old", system="x")
            (text,) = stream.getvalue().splitlines() or [""]
            self.assertEqual(all_of_them, bool(text))
            if text:
                self.assertEqual(
                    ("info", "from of old", None), itemgetter("level", "message", "association")(json.loads(text))
                )

    def test_flushed(self) -> None:
        """Each line is there when it was logged."""
        flushed: list[str] = []

        class Stream(io.StringIO):
            def flush(self) -> None:
                flushed.append(self.getvalue())

        log = Logger(namespace="storescp", observer=JSONObserver(Stream(), "verbose"))
        log.info("one")
        log.info("two")
        self.assertEqual([1, 2], [text.count("\n") for text in flushed])


class TextTests(SynchronousTestCase):
    """A line of text."""

    def test_ids(self) -> None:
        """With ids that of its association stands in brackets before each of its lines; a line of none is as it was."""

        def log(log: Logger) -> None:
            log.info("one", association=ID)
            log.warn("{text}", text="two\n\nthree", association=ID)
            log.info("none", association=None)
            log.info("none")
            failing(log)

        plain = [
            "I: one",
            "W: two",
            "W: ",
            "W: three",
            "I: none",
            "I: none",
            "E: It failed",
            "E: two",
            "E: lines \\x1b",
        ]
        texts = ["I: [3f9a2c-17] one", *(f"W: [3f9a2c-17] {line}" for line in ("two", "", "three"))]
        texts += ["I: none", "I: none", *(f"E: [3f9a2c-17] {line}" for line in ("It failed", "two", "lines \\x1b"))]
        for ids, expected in ((False, plain), (True, texts)):
            self.assertEqual(
                expected,
                printed(lambda stream: TextObserver(stream, "verbose", ids), log).split("\n")[:-1],  # noqa: B023
            )
        self.assertEqual(plain, printed(lambda stream: TextObserver(stream, "verbose"), log).split("\n")[:-1])


class ChoiceTests(SynchronousTestCase):
    """Which observer the options ask for."""

    def of_script(self, **options: Any) -> str:
        return printed(lambda stream: log_observer(Config(**options), stream), self.log)

    def of_twistd(self, **options: Any) -> str:
        return printed(lambda stream: twistd_observer(Config(**options), stream), self.log)

    def log(self, log: Logger) -> None:
        log.warn("no", association=ID)
        log.info("yes")

    def test_script(self) -> None:
        """The script prints text, with ids where they are asked for, or JSON, which has them always."""
        self.assertEqual("W: no\n", self.of_script())
        self.assertEqual("W: no\nI: yes\n", self.of_script(verbosity="verbose"))
        self.assertEqual("W: [3f9a2c-17] no\nI: yes\n", self.of_script(verbosity="verbose", log_associations=True))
        for more in ({}, {"log_associations": True}):
            (line,) = self.of_script(log_format="json", **more).splitlines()
            self.assertEqual(("no", ID), itemgetter("message", "association")(json.loads(line)))
            lines = self.of_script(log_format="json", verbosity="verbose", **more).splitlines()
            self.assertEqual(["no", "yes"], [json.loads(line)["message"] for line in lines])

    def test_twistd(self) -> None:
        """Under twistd text is twistd's own, with ids; JSON is that of the script."""
        text = r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[storescp#%s\] %s$"
        one, two = self.of_twistd(log_associations=True).splitlines()
        self.assertRegex(one, text % ("warn", r"\[3f9a2c-17\] no"))
        self.assertRegex(two, text % ("info", "yes"))
        (line,) = self.of_twistd(log_format="json").splitlines()
        self.assertEqual(("no", ID), itemgetter("message", "association")(json.loads(line)))

    def test_twistd_others(self) -> None:
        """What twistd itself says is shown, whatever the verbosity of ours is."""
        for options in ({"log_format": "json"}, {"log_associations": True}):
            for verbosity in ("quiet", "normal", "verbose", "debug"):
                observer = partial(twistd_observer, Config(verbosity=verbosity, **options))
                text = printed(observer, lambda log: log.info("Server Shut Down."), "twisted.application.app")
                self.assertEqual(1, text.count("Server Shut Down."))

    def test_twistd_failure(self) -> None:
        """A failure has the id in the line that says what has failed; the traceback is twistd's, as it always was."""
        text = printed(partial(twistd_observer, Config(log_associations=True)), failing)
        self.assertIn("[storescp#critical] [3f9a2c-17] It failed\n\tTraceback (most recent call last):", text)
        self.assertEqual(1, text.count(ID))
        plain = printed(lambda stream: FileLogObserver(stream, formatEventAsClassicLogText), failing)
        self.assertEqual(plain.splitlines()[1:], text.splitlines()[1:])

    def test_twistd_braces(self) -> None:
        """Text with braces is text, not a format, and an event is the same for whoever else observes it."""
        event = {"log_format": "{text}", "text": "{braces} {}", "association": ID, "log_level": LogLevel.info}
        stream = io.StringIO()
        twistd_observer(Config(log_associations=True), stream)({**event, "log_time": AT, "log_system": "storescp"})
        self.assertIn(" [storescp] [3f9a2c-17] {braces} {}\n", stream.getvalue())
        seen = {**event, "log_time": AT}
        twistd_observer(Config(log_associations=True), stream)(seen)
        self.assertEqual({**event, "log_time": AT}, seen)

    def test_interfaces(self) -> None:
        """All of them are observers, as Twisted asks of what it is given."""
        for config in (Config(), Config(log_format="json"), Config(log_associations=True)):
            for make in (log_observer, twistd_observer):
                self.assertTrue(verifyObject(ILogObserver, make(config, io.StringIO())))


HOSTILE_TITLE = b"\x1b[2J\xe9\n\x9b"
HOSTILE_RQ = ASSOCIATE_RQ.replace(b"TESTSCU", HOSTILE_TITLE)
OTHER = data_set_with("1.2.3.4.5.6", b"ab")


def visit(server: Server) -> None:
    """One after the other: an instance, another content of it, a stranger, and one with a hostile title who aborts."""
    send(server.address)
    send(server.address, OTHER)
    for data, words in ((b"GET / HTTP/1.1\r\n\r\n", "HTTP"), (HOSTILE_RQ + ABORT_BY_USER, "Aborted")):
        with socket.create_connection(server.address, timeout=30) as stranger:
            stranger.sendall(data)
            stranger.recv(1000)
        wait_until(lambda: words in server.stderr, words)  # noqa: B023


SUMMARY = "Association Summary: TESTSCU at PEER to STORESCP,"
# What is printed of such a visit with -v: whose line it is, in the order of associations, its level and its text.
VISIT = [
    (0, "info", "Association Received"),
    (0, "info", "Association Accepted"),
    (0, "info", "Received Store Request"),
    (0, "info", "Storing DICOM file: CT.1.2.3.4.5.6"),
    (0, "info", "Association Released"),
    (
        0,
        "info",
        "Association Summary: TESTSCU at PEER to STORESCP, 1 stored, 54 bytes, T s, 0 refused, 0 cut off, released",
    ),
    (1, "info", "Association Received"),
    (1, "info", "Association Accepted"),
    (1, "info", "Received Store Request"),
    (1, "info", "Storing DICOM file: CT.1.2.3.4.5.6"),
    (1, "warn", "Another CT.1.2.3.4.5.6 is here already: kept as CT.1.2.3.4.5.6.dup-DIGITS"),
    (1, "info", "Association Released"),
    (
        1,
        "info",
        "Association Summary: TESTSCU at PEER to STORESCP, 1 stored, 68 bytes, T s, 0 refused, 0 cut off, released",
    ),
    (None, "warn", "Connection from PEER ended without an association: PDU type 47H is unknown; it may be HTTP"),
    (2, "info", "Association Received"),
    (2, "info", "Association Accepted"),
    (2, "error", r"Association Aborted: by the peer (\x1b[2J\xe9\x0a\x9b at PEER)".replace(r"\xe9", "\xe9")),
    (
        2,
        "info",
        r"Association Summary: \x1b[2J\xe9\x0a\x9b at PEER to STORESCP, 0 stored, 0 bytes, T s, 0 refused, 0 cut off, "
        r"aborted: by the peer".replace(r"\xe9", "\xe9"),
    ),
]
LETTERS = {"debug": "D", "info": "I", "warn": "W", "error": "E"}


def masked(text: str) -> str:
    """A log without what is different each time."""
    text = re.sub(r"\.dup-[0-9a-f]{8}", ".dup-DIGITS", without_addresses(text))
    return re.sub(r"\d+\.\d{3} s", "T s", text)


class ScriptTests(ServerTestCase):
    """The script, and peers of all kinds."""

    def stderr(self, *options: str, ends: int = 0) -> str:
        """What is printed of a visit, masked, when so many associations were summed up; the server ends in order."""
        server = self.serve(LOOPBACK, *options)
        visit(server)
        wait_until(lambda: server.stderr.count("Association Summary: ") >= ends, "the last summary")
        ended = server.stop()
        self.assertEqual((0, f"storescp: listening on port {server.port}\n"), (ended.code, ended.stdout))
        return masked(ended.stderr)

    def check_visit(self, lines: list[tuple[str | None, str, str]]) -> None:
        """These are the lines of a visit, with the ids of three associations, each of which has them in order.

        The end of one connection and the beginning of the next are seen by the server in any order.
        """
        ids = list(dict.fromkeys(each for each, *_ in lines if each is not None))
        self.assertEqual(3, len(ids))
        for number, identifier in enumerate([*ids, None]):
            expected = [line for who, *line in VISIT if who == (None if identifier is None else number)]
            self.assertEqual(expected, [line for who, *line in lines if who == identifier])

    def test_json(self) -> None:
        """Each line of standard error is a record; they say what text says, and of whom."""
        records = list(map(json.loads, self.stderr("-v", "--log-format", "json", ends=3).splitlines()))
        self.check_visit([(each["association"], each["level"], each["message"]) for each in records])
        for each in records:
            self.assertTrue(STAMP.fullmatch(each["time"]), each)
            self.assertEqual([*KEYS, *["summary"] * each["message"].startswith("Association Summary")], list(each))
            self.assertEqual(each["message"].startswith("Another"), each["logger"] == "storescp.storage.directory")
        summaries = [each["summary"] for each in records if "summary" in each]
        self.assertEqual([1, 1, 0], [each["instances"] for each in summaries])
        self.assertEqual("\x1b[2J\xe9\n\x9b", summaries[2]["calling_ae_title"])

    def test_json_debug(self) -> None:
        """So it is with -d, where a block is one record; each that is about an association has its id."""
        text = self.stderr("-d", "--log-format", "json", ends=3)
        self.assertTrue(text.isascii())
        records = list(map(json.loads, text.splitlines()))
        version, *others = records
        self.assertTrue(version["message"].startswith("$storescp.py v"), version)
        anonymous = [each["message"] for each in others if each["association"] is None]
        self.assertEqual([text for who, _, text in VISIT if who is None], anonymous)
        self.assertEqual(
            3, sum(each["message"].startswith("Request Parameters:\n====") for each in others if each["association"])
        )
        last = {each["association"]: each for each in others}
        self.assertEqual({True}, {"summary" in each for who, each in last.items() if who})

    def test_json_default(self) -> None:
        """Without -v there is what went wrong, and no summary."""
        records = list(map(json.loads, self.stderr("--log-format=json").splitlines()))
        expected = [(level, text) for _, level, text in VISIT if level != "info"]
        self.assertEqual(expected, [(each["level"], each["message"]) for each in records])

    def test_text(self) -> None:
        """Text without ids is as it always was, and has no summary."""
        expected = [f"{LETTERS[level]}: {text}" for _, level, text in VISIT if "Summary" not in text]
        self.assertEqual(expected, self.stderr("-v").splitlines())

    def test_associations(self) -> None:
        """With --log-associations it has both."""
        pattern = re.compile(r"([IWE]): (?:\[([0-9a-f]{6}-\d+)\] )?(.*)")
        levels = {letter: level for level, letter in LETTERS.items()}
        matches = [pattern.fullmatch(line) for line in self.stderr("-v", "--log-associations", ends=3).splitlines()]
        self.check_visit([(match[2], levels[match[1]], match[3]) for match in matches if match])
        self.assertEqual(len(VISIT), len(matches))

    def test_cannot_start(self) -> None:
        """What stands in the way of a start is said as ever, in one line of text."""
        for form in ("text", "json"):
            ended = self.run_program("--log-format", form, LOOPBACK, "-od", "missing").ended()
            path = self.directory / "missing"
            self.assertEqual(
                (1, "", f"storescp: error: output directory {path}: does not exist\n"),
                (ended.code, ended.stdout, ended.stderr),
            )

    def test_summary_while_it_stops(self) -> None:
        """Who is cut off by the end of the server is summed up, too: the last line of all."""
        server = self.serve(LOOPBACK, "-v", "--log-format=json", "--grace=0")
        sender = Sender(server.address)
        self.addCleanup(sender.close)
        sender.send(*c_store(bytes(30000))[:2])
        wait_until(lambda: "Storing" in server.stderr, "an instance under way")
        ended = server.stop()
        records = list(map(json.loads, ended.stderr.splitlines()))
        self.assertEqual(1, ended.code)
        self.assertEqual(
            (0, 1, "aborted", "this server stops"),
            itemgetter("instances", "cut_off", "ended", "cause")(records[-1]["summary"]),
        )
        self.assertEqual(
            ["Waiting for 1 association(s) to finish what is under way"],
            [each["message"] for each in records if each["association"] is None],
        )
