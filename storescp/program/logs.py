"""What the programs print: an observer that puts associations into words, and one that prints the words.

Between the two is Twisted's log, so that under twistd its own observers show the same events.
"""

from collections.abc import Iterable
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from zope.interface import implementer

from storescp.dimse.commands import CEchoRQ, Command, CStoreRQ, CStoreRSP, OtherRSP
from storescp.errors import Status, StoreFailure
from storescp.interfaces import Association, AssociationObserver, PresentationContext, StoreRequest
from storescp.program import dump
from storescp.program.escaping import escape
from storescp.uids import IMPLICIT_LE, VERSION
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ

_log = Logger(namespace="storescp")

_LEVELS = {
    "quiet": frozenset[str](),
    "normal": frozenset({"warn", "error", "critical"}),
    "verbose": frozenset({"info", "warn", "error", "critical"}),
    "debug": frozenset({"debug", "info", "warn", "error", "critical"}),
}
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
    """Puts what happens to associations into the words of the log, as much as `verbosity` asks for."""

    def __init__(self, verbosity: str) -> None:
        levels = _LEVELS[verbosity]
        self._debugging = "debug" in levels
        self._informing = "info" in levels
        self._failing = "error" in levels

    def _debug(self, lines: Iterable[str]) -> None:
        _log.debug("{text}", text="\n".join(map(escape, lines)))

    def _info(self, text: str) -> None:
        if self._informing:
            _log.info("{text}", text=escape(text))

    def _warn(self, text: str) -> None:
        if self._failing:
            _log.warn("{text}", text=escape(text))

    def _error(self, text: str) -> None:
        if self._failing:
            _log.error("{text}", text=escape(text))

    def started(self) -> None:
        """The program begins."""
        if self._debugging:
            self._debug([f"$storescp.py v{VERSION}", ""])

    def association_requested(self, association: Association, request: AAssociateRQ) -> None:
        self._info("Association Received")
        if self._debugging:
            self._debug(["Request Parameters:", *dump.associate_rq(request)])

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        self._info("Association Accepted")
        rejected = dump.rejected_contexts(request, answer)
        if not dump.accepts_storage(request, answer):  # then this is what the user must know
            for line in rejected:
                self._info(line)
        elif self._debugging and rejected:
            self._debug(rejected)
        if self._debugging:
            self._debug(["Accept Parameters:", *dump.associate_ac(answer)])

    def association_rejected(self, association: Association, answer: AAssociateRJ) -> None:
        self._info(f"Association Rejected: {dump.rejection(answer)}")

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
        self._error(
            f"Storing {request.sop_instance_uid} from {association.calling_ae_title} at {association.peer} failed: "
            f"{failure}; answered {dump.status(failure.status)}"
        )

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None:
        self._warn(f"{request.sop_instance_uid} from {association.calling_ae_title} was cut off: {cause}")

    def message_sent(self, association: Association, context: PresentationContext, command: Command) -> None:
        if isinstance(command, OtherRSP):
            self._warn(f"A request of {association.calling_ae_title} was refused: {dump.status(command.status)}")
        # A C-STORE that succeeds says so by the lack of a further line, as it always did.
        if self._debugging and not (isinstance(command, CStoreRSP) and command.status == Status.SUCCESS):
            self._debug(dump.message("OUTGOING", context, command))

    def association_released(self, association: Association) -> None:
        self._info("Association Released")

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        self._error(f"Association Aborted: {cause}")
        if self._debugging:
            self._debug(dump.abort(abort))

    def connection_refused(self, peer: str, cause: str) -> None:
        self._warn(f"Connection from {peer} ended without an association: {cause}")
