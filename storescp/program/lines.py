"""How the log is printed: as lines of text, which are the seed's, or of JSON."""

import json
from typing import Any, TextIO

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent, formatEventAsClassicLogText
from zope.interface import implementer

from storescp.config import Config
from storescp.watch.escaping import escape
from storescp.watch.stamp import stamp

LEVELS = {
    "quiet": frozenset[str](),
    "normal": frozenset({"warn", "error", "critical"}),
    "verbose": frozenset({"info", "warn", "error", "critical"}),
    "debug": frozenset({"debug", "info", "warn", "error", "critical"}),
}
_LETTERS = {"debug": "D", "info": "I", "warn": "W", "error": "E", "critical": "E"}


class _Observer:
    """Prints the events that `verbosity` asks for; of other packages, unless `all_of_them`, only what went wrong."""

    def __init__(self, stream: TextIO, verbosity: str, all_of_them: bool = False) -> None:
        self._stream = stream
        self._levels = LEVELS[verbosity]
        self._foreign = LEVELS["verbose"] if all_of_them else self._levels & {"error", "critical"}
        self._tracebacks = verbosity == "debug"

    def __call__(self, event: LogEvent) -> None:
        level = getattr(event.get("log_level"), "name", "info")
        ours = str(event.get("log_namespace", "")).startswith("storescp")
        if level not in (self._levels if ours else self._foreign):
            return
        lines = formatEvent(event).split("\n")
        if "log_failure" in event:
            lines += self._failure_lines(event)
        self._stream.write(self._printed(event, level, list(map(escape, lines))))
        self._stream.flush()

    def _failure_lines(self, event: LogEvent) -> list[str]:
        failure = event["log_failure"]
        text: str = failure.getTraceback() if self._tracebacks else failure.getErrorMessage()
        return text.splitlines()

    def _printed(self, event: LogEvent, level: str, lines: list[str]) -> str:
        raise NotImplementedError


@implementer(ILogObserver)
class TextObserver(_Observer):
    """Prints log events as ``I: text``, one line each line of the event; with `ids`, that of its association first."""

    def __init__(self, stream: TextIO, verbosity: str, ids: bool = False) -> None:
        super().__init__(stream, verbosity)
        self._ids = ids

    def _printed(self, event: LogEvent, level: str, lines: list[str]) -> str:
        association = event.get("association") if self._ids else None
        prefix = f"{_LETTERS[level]}: {f'[{association}] ' if association else ''}"
        return "".join(f"{prefix}{line}\n" for line in lines)


@implementer(ILogObserver)
class JSONObserver(_Observer):
    """Prints log events as objects of JSON, one each line: ASCII, with all else escaped."""

    def _printed(self, event: LogEvent, level: str, lines: list[str]) -> str:
        record: dict[str, Any] = {
            "time": stamp(event["log_time"]),
            "level": "error" if level == "critical" else level,  # as the letter of a line of text is E
            "logger": event.get("log_namespace", ""),
            "association": event.get("association"),
            "message": "\n".join(lines),
        }
        if "summary" in event:
            record["summary"] = event["summary"]
        return json.dumps(record, separators=(",", ":")) + "\n"


def log_observer(config: Config, stream: TextIO) -> ILogObserver:
    """What prints the log as `config` has it."""
    if config.log_format == "json":
        return JSONObserver(stream, config.verbosity)
    return TextObserver(stream, config.verbosity, config.log_associations)


def twistd_observer(config: Config, file: Any) -> ILogObserver:
    """The same under twistd, whose lines of text are its own, and whose own events are shown, too."""
    if config.log_format == "json":
        return JSONObserver(file, config.verbosity, all_of_them=True)
    return FileLogObserver(file, _with_id)


def _with_id(event: LogEvent) -> str | None:
    if event.get("association"):
        event = {**event, "log_format": f"[{{association}}] {event['log_format']}"}
    return formatEventAsClassicLogText(event)
