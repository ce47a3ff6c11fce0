"""Audit: who came, from where, as whom, what came of it; one event for each association and each refusal."""

import errno
import json
import os
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from storescp.errors import CannotStart
from storescp.interfaces import Association
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateRJ
from storescp.watch.escaping import shorten
from storescp.watch.ledger import Account, Ledger
from storescp.watch.sparing import LINES, Sparing, host_of
from storescp.watch.stamp import stamp

_log = Logger()

# To open a pipe without a reader, or to write to one that is full, fails instead of taking for ever.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK

Event = dict[str, Any]  # of what JSON knows


class AuditObserver(Ledger):
    """Makes the events, and gives each to `tell`: text of a peer is as it came, but never of more than 2000 characters.

    ``event`` is ``association`` of one that has ended, ``rejection`` of a request, ``refusal`` of a connection. Of the
    latter two there are `LINES` a minute for each host, so that nobody fills the disk; the next one says how many were
    ``left_out``. `now` is the time of day, `seconds` a clock that nobody sets.
    """

    def __init__(
        self,
        tell: Callable[[Event], None],
        now: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(seconds)
        self._tell = tell
        self._now = now
        self._refusals = Sparing(seconds, LINES)

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        if association in self.accounts:
            super().association_aborted(association, abort, cause)
        else:  # it was not yet accepted
            self._refused("rejection", cause, **_who(association), answer=None)

    def settle(self, association: Association, account: Account, seconds: float) -> None:
        self._event(
            "association",
            **_who(association),
            seconds=round(seconds, 3),
            instances=account.instances,
            bytes=account.size,
            failed=account.failed,
            ended=account.ended,
            cause=shorten(account.cause),
        )

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None:
        triple = [answer.result, answer.source, answer.reason]
        self._refused("rejection", cause, **_who(association), answer=triple)

    def connection_refused(self, peer: str, cause: str) -> None:
        self._refused("refusal", cause, peer=shorten(peer))

    def _refused(self, event: str, cause: str, **fields: Any) -> None:
        left_out = self._refusals.left_out(host_of(fields["peer"]))
        if left_out is not None:
            more = {"left_out": left_out} if left_out else {}
            self._event(event, **fields, cause=shorten(cause), **more)

    def _event(self, event: str, **fields: Any) -> None:
        self._tell({"time": stamp(self._now()), "event": event, **fields})


def _who(association: Association) -> Event:
    certificate = association.certificate
    return {
        "association": association.id,
        "peer": shorten(association.peer),
        "calling_ae_title": association.calling_ae_title,
        "called_ae_title": association.called_ae_title,
        "certificate": certificate and {"subject": shorten(certificate.subject), "sha256": certificate.sha256},
        "user": association.user and shorten(association.user),
    }


class JSONLines:
    """A file to which each event is appended as a line of JSON: ASCII, with all else escaped.

    Only its owner may read it. `reload` opens it anew, as another may have its name by then. Raises `CannotStart` where
    it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = self._opened()
        self._torn = False  # it ends amid a line
        self._lost = 0  # events since it can no longer be written

    @staticmethod
    def check(path: str) -> None:
        """Raise `CannotStart` where a file of this path could not be opened so. None is made."""
        try:
            try:
                os.close(os.open(path, _FLAGS & ~os.O_CREAT))
            except FileNotFoundError:
                if not os.path.basename(path):
                    raise
                place = os.path.dirname(path) or "."
                os.close(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                if not os.access(place, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        except OSError as error:
            raise CannotStart(f"{path}: {error.strerror}") from None

    def _opened(self) -> int:
        try:
            return self._open()
        except OSError as error:
            raise CannotStart(f"{self._path}: {error.strerror}") from None

    def _open(self) -> int:
        return os.open(self._path, _FLAGS, 0o600)

    def reload(self) -> None:
        descriptor = self._opened()
        self.close()
        self._descriptor = descriptor
        self._torn = False

    def close(self) -> None:
        """Until there is something to be written again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def write(self, event: Event) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            while line:  # in one piece as a rule, so that lines of several processes do not mix
                line = line[os.write(self._descriptor, line) :]
                self._torn = bool(line)
        except OSError as error:
            if not self._lost:
                _log.error("{path}: {error}: what happens is not audited", path=self._path, error=error.strerror)
            self._lost += 1
        else:
            if self._lost:
                _log.warn("{path} can be written again; {lost} events are lost", path=self._path, lost=self._lost)
            self._lost = 0
