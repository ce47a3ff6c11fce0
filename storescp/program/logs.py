"""What the programs print: an observer that puts associations into words, and one that prints the words.

Between the two is Twisted's log, so that under twistd its own observers show the same events.
"""

import time
from collections.abc import Callable, Iterable
from typing import TextIO
from weakref import WeakKeyDictionary

from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from zope.interface import implementer

from storescp.dimse.commands import CEchoRQ, Command, CStoreRQ, CStoreRSP, OtherRSP
from storescp.errors import Excess, Status, StoreFailure
from storescp.interfaces import Association, AssociationObserver, PresentationContext, StoreRequest
from storescp.program import dump
from storescp.program.options import spelling
from storescp.uids import IMPLICIT_LE, VERSION
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ
from storescp.watch.escaping import escape, shorten
from storescp.watch.sparing import LINES, Sparing, host_of

_log = Logger(namespace="storescp")

_LEVELS = {
    "quiet": frozenset[str](),
    "normal": frozenset({"warn", "error", "critical"}),
    "verbose": frozenset({"info", "warn", "error", "critical"}),
    "debug": frozenset({"debug", "info", "warn", "error", "critical"}),
}
PERMANENT = 1  # the result of an A-ASSOCIATE-RJ that waiting does not help
_LETTERS = {"debug": "D", "info": "I", "warn": "W", "error": "E", "critical": "E"}


@implementer(ILogObserver)
class TextObserver:
    """Prints log events as ``I: text``, one line each line of the event.

    Events of other packages are printed only where something went wrong.
    """

    def __init__(self, stream: TextIO, verbosity: str) -> None:
        self._stream = stream
        self._levels = _LEVELS[verbosity]
        self._foreign = self._levels & {"error", "critical"}
        self._tracebacks = verbosity == "debug"

    def __call__(self, event: LogEvent) -> None:
        level = getattr(event.get("log_level"), "name", "info")
        ours = str(event.get("log_namespace", "")).startswith("storescp")
        if level not in (self._levels if ours else self._foreign):
            return
        lines = formatEvent(event).split("\n")
        if "log_failure" in event:
            lines += self._failure_lines(event)
        prefix = f"{_LETTERS[level]}: "
        self._stream.write("".join(f"{prefix}{escape(line)}\n" for line in lines))
        self._stream.flush()

    def _failure_lines(self, event: LogEvent) -> list[str]:
        failure = event["log_failure"]
        text: str = failure.getTraceback() if self._tracebacks else failure.getErrorMessage()
        return text.splitlines()


class AssociationLog(AssociationObserver):
    """Puts what happens to associations into the words of the log, as much as `verbosity` asks for.

    Where a limit is reached, that is said once a minute for each limit and host of a peer. Of all else that goes
    wrong there are `LINES` a minute for each host, so that nobody fills the disk with words. `seconds` is the clock.
    """

    def __init__(self, verbosity: str, seconds: Callable[[], float] = time.monotonic) -> None:
        levels = _LEVELS[verbosity]
        self._limits = Sparing(seconds, 1)
        self._mistakes = Sparing(seconds, LINES)
        # Of each association: the instance that ended amid its data set. Weak, as not all are told in order.
        self._cut_off: WeakKeyDictionary[Association, str] = WeakKeyDictionary()
        self._debugging = "debug" in levels
        self._informing = "info" in levels
        self._failing = "error" in levels

    def _debug(self, lines: Iterable[str]) -> None:
        _log.debug("{text}", text="\n".join(map(_shown, lines)))

    def _info(self, text: str) -> None:
        if self._informing:
            _log.info("{text}", text=_shown(text))

    def _warn(self, peer: str, text: str, cause: str = "") -> None:
        self._spared(_log.warn, peer, text, cause)

    def _error(self, peer: str, text: str, cause: str = "") -> None:
        self._spared(_log.error, peer, text, cause)

    def _spared(self, log: Callable[..., None], peer: str, text: str, cause: str) -> None:
        """One line about `peer`, unless there were enough of the kind already."""
        if not self._failing:
            return
        if isinstance(cause, Excess):
            left_out = self._limits.left_out((cause.limit, log, host_of(peer)))
        else:
            left_out = self._mistakes.left_out(host_of(peer))
        if left_out is None:
            self._info(text)  # who wants all of it gets all of it
        else:
            more = f"; {left_out} more such lines were left out" if left_out else ""
            log("{text}", text=_shown(text) + more)

    def started(self) -> None:
        """The program begins."""
        if self._debugging:
            self._debug([f"$storescp.py v{VERSION}", ""])

    def association_requested(self, association: Association, request: AAssociateRQ) -> None:
        self._info("Association Received")
        if self._debugging:
            self._debug(["Request Parameters:", *dump.associate_rq(request)])

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        self._cut_off[association] = ""
        self._info("Association Accepted")
        if not self._informing:  # or a request of 128 contexts would cost as much again
            return
        rejected = dump.rejected_contexts(request, answer)
        if not dump.accepts_storage(request, answer):  # then this is what the user must know
            for line in rejected:
                self._info(line)
        elif self._debugging and rejected:
            self._debug(rejected)
        if self._debugging:
            self._debug(["Accept Parameters:", *dump.associate_ac(answer)])

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None:
        self._info(f"Association Rejected: {dump.rejection(answer)}")
        if cause and (isinstance(cause, Excess) or answer.result == PERMANENT):
            self._warn(association.peer, f"An association of {_who(association)} is rejected: {_why(cause)}", cause)

    def message_received(self, association: Association, context: PresentationContext, command: Command) -> None:
        if self._debugging:
            self._debug([dump.read_dataset(IMPLICIT_LE)])
        if isinstance(command, CStoreRQ):
            self._info("Received Store Request")
        elif isinstance(command, CEchoRQ):
            self._info(f"Received Echo Request (MsgID {command.message_id})")
        if self._debugging:
            self._debug(dump.message("INCOMING", context, command))

    def instance_opened(self, association: Association, request: StoreRequest, name: str | None) -> None:
        if self._debugging:
            self._debug([dump.read_dataset(request.transfer_syntax)])
        if name is not None:
            self._info(f"Storing DICOM file: {name}")

    def instance_refused(self, association: Association, request: StoreRequest, failure: StoreFailure) -> None:
        text = (
            f"Storing {request.sop_instance_uid} from {_who(association)} failed: "
            f"{_why(failure.cause)}; answered {dump.status(failure.status)}"
        )
        self._error(association.peer, text, failure.cause)

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None:
        text = f"{request.sop_instance_uid} was cut off"
        if association in self._cut_off:  # its end, which is the cause, comes next: one line is enough for both
            self._cut_off[association] = text
        else:
            self._warn(association.peer, f"{text}: {cause} ({_who(association)})")

    def message_sent(self, association: Association, context: PresentationContext, command: Command) -> None:
        if isinstance(command, OtherRSP):
            text = f"A request of {_who(association)} was refused: {dump.status(command.status)}"
            self._warn(association.peer, text)
        # A C-STORE that succeeds says so by the lack of a further line, as it always did.
        if self._debugging and not (isinstance(command, CStoreRSP) and command.status == Status.SUCCESS):
            self._debug(dump.message("OUTGOING", context, command))

    def association_released(self, association: Association) -> None:
        cut_off = self._cut_off.pop(association, "")
        if cut_off:
            self._warn(association.peer, f"{cut_off}: the peer released the association ({_who(association)})")
        self._info("Association Released")

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        cut_off = self._cut_off.pop(association, "")
        more = f"; {cut_off}" if cut_off else ""
        self._error(association.peer, f"Association Aborted: {_why(cause)}{more} ({_who(association)})", cause)
        if self._debugging:
            self._debug(dump.abort(abort))

    def connection_refused(self, peer: str, cause: str) -> None:
        self._warn(peer, f"Connection from {peer} ended without an association: {_why(cause)}", cause)


def _shown(text: str) -> str:
    return escape(shorten(text))


def _who(association: Association) -> str:
    return f"{association.calling_ae_title} at {association.peer}"


def _why(cause: str) -> str:
    """A cause, and the option where it is a limit."""
    return f"{cause} ({spelling(cause.limit)})" if isinstance(cause, Excess) else cause
