"""What the programs say of associations, in the words of the log. How they are printed is said in lines.py.

Between the two is Twisted's log, so that under twistd its own observers show the same events.
"""

import time
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from twisted.logger import Logger

from storescp.config import Config
from storescp.dimse.commands import CEchoRQ, Command, CStoreRQ, CStoreRSP, OtherRSP
from storescp.errors import Excess, Status, StoreFailure
from storescp.interfaces import (
    Association,
    AssociationObserver,
    PresentationContext,
    StoreRequest,
)
from storescp.program import dump
from storescp.program.lines import LEVELS
from storescp.program.options import spelling
from storescp.uids import IMPLICIT_LE, VERSION
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ
from storescp.watch.escaping import shorten, shown
from storescp.watch.ledger import Account, Ledger
from storescp.watch.sparing import LINES, Sparing, host_of

_log = Logger(namespace="storescp")

PERMANENT = 1  # the result of an A-ASSOCIATE-RJ that waiting does not help


class AssociationLog(AssociationObserver):
    """Puts what happens to associations into the words of the log, as much as `verbosity` asks for.

    Where a limit is reached, that is said once a minute for each limit and host of a peer. Of all else that goes
    wrong there are `LINES` a minute for each host, so that nobody fills the disk with words. `seconds` is the clock.
    """

    def __init__(self, verbosity: str, seconds: Callable[[], float] = time.monotonic) -> None:
        levels = LEVELS[verbosity]
        self._limits = Sparing(seconds, 1)
        self._mistakes = Sparing(seconds, LINES)
        # Of each association: the instance that ended amid its data set. Weak, as not all are told in order.
        self._cut_off: WeakKeyDictionary[Association, str] = WeakKeyDictionary()
        self._debugging = "debug" in levels
        self._informing = "info" in levels
        self._failing = "error" in levels

    def _debug(self, association: Association, lines: Iterable[str]) -> None:
        _log.debug("{text}", text="\n".join(map(shown, lines)), association=association.id)

    def _info(self, association: Association | None, text: str) -> None:
        if self._informing:
            _log.info("{text}", text=shown(text), association=association and association.id)

    def _warn(self, about: Association | str, text: str, cause: str = "") -> None:
        self._spared(_log.warn, about, text, cause)

    def _error(self, about: Association | str, text: str, cause: str = "") -> None:
        self._spared(_log.error, about, text, cause)

    def _spared(self, log: Callable[..., None], about: Association | str, text: str, cause: str) -> None:
        """One line about an association, or a peer without one, unless there were enough of the kind already."""
        if not self._failing:
            return
        association = about if isinstance(about, Association) else None
        host = host_of(about.peer if isinstance(about, Association) else about)
        if isinstance(cause, Excess):
            left_out = self._limits.left_out((cause.limit, log, host))
        else:
            left_out = self._mistakes.left_out(host)
        if left_out is None:
            self._info(association, text)  # who wants all of it gets all of it
        else:
            more = f"; {left_out} more such lines were left out" if left_out else ""
            log("{text}", text=shown(text) + more, association=association and association.id)

    def started(self) -> None:
        """The program begins."""
        if self._debugging:
            _log.debug("{text}", text=f"$storescp.py v{VERSION}\n")

    def association_requested(self, association: Association, request: AAssociateRQ) -> None:
        self._info(association, "Association Received")
        if self._debugging:
            self._debug(association, ["Request Parameters:", *dump.associate_rq(request)])

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        self._cut_off[association] = ""
        self._info(association, "Association Accepted")
        if not self._informing:  # or a request of 128 contexts would cost as much again
            return
        rejected = dump.rejected_contexts(request, answer)
        if not dump.accepts_storage(request, answer):  # then this is what the user must know
            for line in rejected:
                self._info(association, line)
        elif self._debugging and rejected:
            self._debug(association, rejected)
        if self._debugging:
            self._debug(association, ["Accept Parameters:", *dump.associate_ac(answer)])

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None:
        self._info(association, f"Association Rejected: {dump.rejection(answer)}")
        if cause and (isinstance(cause, Excess) or answer.result == PERMANENT):
            self._warn(association, f"An association of {_who(association)} is rejected: {_why(cause)}", cause)

    def message_received(self, association: Association, context: PresentationContext, command: Command) -> None:
        if self._debugging:
            self._debug(association, [dump.read_dataset(IMPLICIT_LE)])
        if isinstance(command, CStoreRQ):
            self._info(association, "Received Store Request")
        elif isinstance(command, CEchoRQ):
            self._info(association, f"Received Echo Request (MsgID {command.message_id})")
        if self._debugging:
            self._debug(association, dump.message("INCOMING", context, command))

    def instance_opened(self, association: Association, request: StoreRequest, name: str | None) -> None:
        if self._debugging:
            self._debug(association, [dump.read_dataset(request.transfer_syntax)])
        if name is not None:
            self._info(association, f"Storing DICOM file: {name}")

    def instance_refused(self, association: Association, request: StoreRequest, failure: StoreFailure) -> None:
        text = (
            f"Storing {request.sop_instance_uid} from {_who(association)} failed: "
            f"{_why(failure.cause)}; answered {dump.status(failure.status)}"
        )
        self._error(association, text, failure.cause)

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None:
        text = f"{request.sop_instance_uid} was cut off"
        if association in self._cut_off:  # its end, which is the cause, comes next: one line is enough for both
            self._cut_off[association] = text
        else:
            self._warn(association, f"{text}: {cause} ({_who(association)})")

    def message_sent(self, association: Association, context: PresentationContext, command: Command) -> None:
        if isinstance(command, OtherRSP):
            text = f"A request of {_who(association)} was refused: {dump.status(command.status)}"
            self._warn(association, text)
        # A C-STORE that succeeds says so by the lack of a further line, as it always did.
        if self._debugging and not (isinstance(command, CStoreRSP) and command.status == Status.SUCCESS):
            self._debug(association, dump.message("OUTGOING", context, command))

    def association_released(self, association: Association) -> None:
        cut_off = self._cut_off.pop(association, "")
        if cut_off:
            self._warn(association, f"{cut_off}: the peer released the association ({_who(association)})")
        self._info(association, "Association Released")

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        cut_off = self._cut_off.pop(association, "")
        more = f"; {cut_off}" if cut_off else ""
        self._error(association, f"Association Aborted: {_why(cause)}{more} ({_who(association)})", cause)
        if self._debugging:
            self._debug(association, dump.abort(abort))

    def connection_refused(self, peer: str, cause: str) -> None:
        self._warn(peer, f"Connection from {peer} ended without an association: {_why(cause)}", cause)


class AssociationSummary(Ledger):
    """Sums up each association, at its end, in a line of the log."""

    def settle(self, association: Association, account: Account, seconds: float) -> None:
        summary = {
            "peer": association.peer,
            "calling_ae_title": association.calling_ae_title,
            "called_ae_title": association.called_ae_title,
            "instances": account.instances,
            "bytes": account.size,
            "seconds": round(seconds, 3),
            "refused": account.refused,
            "cut_off": account.cut_off,
            "ended": account.ended,
            "cause": shorten(account.cause),
        }
        text = (
            f"Association Summary: {_who(association)} to {association.called_ae_title}, {account.instances} stored, "
            f"{account.size} bytes, {seconds:.3f} s, {account.refused} refused, {account.cut_off} cut off, "
            f"{account.ended}{f': {_why(account.cause)}' if account.cause else ''}"
        )
        _log.info("{text}", text=shown(text), association=association.id, summary=summary)


def _who(association: Association) -> str:
    return f"{association.calling_ae_title} at {association.peer}"


def _why(cause: str) -> str:
    """A cause, and the option where it is a limit."""
    return f"{cause} ({spelling(cause.limit)})" if isinstance(cause, Excess) else cause


def summaries_for(config: Config) -> list[AssociationSummary]:
    """The observer that sums up, where `config` asks for one."""
    summed_up = config.log_associations or config.log_format == "json"
    return [AssociationSummary()] if summed_up and "info" in LEVELS[config.verbosity] else []
