"""Board: what is worth a look, now and in the last minutes. Nothing of a data set, and no UID of an instance."""

import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from storescp.errors import STATUS_WORDS, Excess, Status
from storescp.interfaces import Association, StoreRequest
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateRJ
from storescp.watch.escaping import shown
from storescp.watch.ledger import Account, Ledger
from storescp.watch.progress import Outcome
from storescp.watch.tally import reason_of, sop_class_label

PAST = 300  # seconds that are remembered
LAST = 25  # instances, and as many errors
SHOWN = 50  # associations


class Rates:
    """How much has come in each of the last `PAST` seconds."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._second = int(seconds())  # that the last of them is
        self._instances = deque([0] * (PAST + 1), PAST + 1)
        self._bytes = deque([0.0] * (PAST + 1), PAST + 1)

    def _advance(self) -> None:
        passed = int(self._seconds()) - self._second
        self._second += passed
        for counts in (self._instances, self._bytes):
            counts.extend([0] * min(passed, PAST + 1))

    def add(self, size: int, began: float) -> None:
        """An instance of so many bytes, which came from that moment until now, evenly as far as we know."""
        self._advance()
        self._instances[-1] += 1
        took = self._second - int(began) + 1
        for second in range(1, min(took, PAST + 1) + 1):
            self._bytes[-second] += size / took

    def series(self) -> tuple[list[int], list[int]]:
        """Instances and bytes of each whole second, the oldest first."""
        self._advance()
        return list(islice(self._instances, PAST)), list(map(round, islice(self._bytes, PAST)))


class Board(Ledger):
    """Keeps what a page shows. `now` is the time of day, `seconds` a clock that nobody sets."""

    def __init__(self, now: Callable[[], float] = time.time, seconds: Callable[[], float] = time.monotonic) -> None:
        super().__init__(seconds)
        self._now = now
        self._rates = Rates(seconds)
        self._instances: deque[tuple[float, Association, StoreRequest, Outcome]] = deque(maxlen=LAST)  # newest first
        self._errors: deque[dict[str, Any]] = deque(maxlen=LAST)

    def snapshot(self) -> dict[str, Any]:
        """All of it, of what JSON knows. Text of peers is escaped, as in the log, and short."""
        now, seconds = self._now(), self.seconds()
        instances, size = self._rates.series()
        return {
            "now": now,
            "associations": [
                _association(association, account, now - seconds + account.began)
                for association, account in islice(self.accounts.items(), SHOWN)
            ],
            "instances": [_instance(*each) for each in self._instances],
            "rate": {"instances": instances, "bytes": size},
            "errors": list(self._errors),
        }

    def instance(self, association: Association, request: StoreRequest, outcome: Outcome) -> None:
        """What has become of an instance."""
        if outcome.received is not None:
            self._rates.add(outcome.size, outcome.began)
        self._instances.appendleft((self._now(), association, request, outcome))
        if outcome.status != Status.SUCCESS:
            sop_class = sop_class_label(request.sop_class_uid)
            if outcome.status is None:
                self._error("cut off", association.peer, association.calling_ae_title, sop_class)
            else:
                text = f"{sop_class}: {_words(outcome)}"
                self._error("failed", association.peer, association.calling_ae_title, text)

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None:
        reason = reason_of(answer)
        text = f"{reason}: {cause}" if isinstance(cause, Excess) else reason
        self._error("rejected", association.peer, association.calling_ae_title, text)

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        super().association_aborted(association, abort, cause)
        self._error("aborted", association.peer, association.calling_ae_title, cause)

    def connection_refused(self, peer: str, cause: str) -> None:
        self._error("refused", peer, "", cause)

    def _error(self, kind: str, peer: str, calling: str, text: str) -> None:
        self._errors.appendleft(
            {"time": self._now(), "kind": kind, "peer": shown(peer), "calling": shown(calling), "text": shown(text)}
        )


def _association(association: Association, account: Account, since: float) -> dict[str, Any]:
    return {
        "id": association.id,
        "peer": shown(association.peer),
        "calling": shown(association.calling_ae_title),
        "called": shown(association.called_ae_title),
        "since": since,
        "instances": account.instances,
        "bytes": account.size,
        "failed": account.failed,
    }


def _instance(time: float, association: Association, request: StoreRequest, outcome: Outcome) -> dict[str, Any]:
    return {
        "time": time,
        "calling": shown(association.calling_ae_title),
        "sop_class": sop_class_label(request.sop_class_uid),
        "status": outcome.status,
        "words": _words(outcome),
        "bytes": outcome.size,
        "receive": outcome.receive,
        "sync": outcome.sync,
    }


def _words(outcome: Outcome) -> str:
    return "Cut off" if outcome.status is None else STATUS_WORDS.get(outcome.status, "")
