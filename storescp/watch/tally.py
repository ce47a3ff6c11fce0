"""Tally: what has happened, counted by kind."""

from bisect import bisect_left
from collections import Counter

from storescp.errors import Cause, Status, kind_of
from storescp.interfaces import Association, AssociationObserver, StoreRequest
from storescp.uids import STORAGE_SOP_CLASSES, name_of
from storescp.ul.machine import PAbort
from storescp.ul.negotiation import USER_IDENTITY_REFUSED
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ
from storescp.watch.progress import Outcome

OTHER = "other"  # in the place of a SOP Class that is none of the standard's: there could be any number of them
Kind = tuple[int | None, str]  # of an instance: the status it was answered with, if it was, and its SOP Class UID

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Durations:
    """How many took how long: `counts` of those up to each of `SECONDS`, and of those that took longer."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0  # seconds

    def add(self, seconds: float | None) -> None:
        if seconds is not None:
            self.counts[bisect_left(SECONDS, seconds)] += 1
            self.sum += seconds


class Tally(AssociationObserver):
    """Counts. No key is made of text of a peer, so there are not many; whoever reads may be another thread."""

    def __init__(self) -> None:
        self.open = 0  # associations
        self.accepted = 0
        self.released = 0
        self.rejected: Counter[str] = Counter()  # by reason
        self.aborted: Counter[str] = Counter()  # by the kind of the cause
        self.refused: Counter[str] = Counter()  # connections, by the kind of the cause
        self.instances: Counter[Kind] = Counter()
        self.bytes: Counter[Kind] = Counter()  # of their data sets
        self.receive = Durations()
        self.sync = Durations()

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        self.open += 1
        self.accepted += 1

    def association_rejected(self, association: Association, answer: AAssociateRJ, cause: str) -> None:
        self.rejected[cause.kind if isinstance(cause, Cause) else reason_of(answer).lower().replace(" ", "_")] += 1

    def association_released(self, association: Association) -> None:
        self.released += 1

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        self.aborted[kind_of(cause)] += 1

    def association_ended(self, association: Association) -> None:
        self.open -= 1

    def connection_refused(self, peer: str, cause: str) -> None:
        self.refused[kind_of(cause)] += 1

    @property
    def stored(self) -> int:
        """Instances."""
        return sum(count for (status, _), count in dict(self.instances).items() if status == Status.SUCCESS)

    @property
    def failed(self) -> int:
        """Instances that were not stored."""
        return sum(count for (status, _), count in dict(self.instances).items() if status != Status.SUCCESS)

    @property
    def stored_bytes(self) -> int:
        """Of the data sets of those that were."""
        return sum(size for (status, _), size in dict(self.bytes).items() if status == Status.SUCCESS)

    def instance(self, _association: Association, request: StoreRequest, outcome: Outcome) -> None:
        """What has become of an instance."""
        uid = request.sop_class_uid
        kind = outcome.status, uid if uid in STORAGE_SOP_CLASSES else OTHER
        self.instances[kind] += 1
        self.bytes[kind] += outcome.size
        self.receive.add(outcome.receive)
        self.sync.add(outcome.sync)


def reason_of(answer: AAssociateRJ) -> str:
    """The reason of a rejection in words; PS3.8 has none for a user who is refused."""
    return "User Identity Refused" if answer == USER_IDENTITY_REFUSED else answer.in_words


def status_label(status: int | None) -> str:
    """A status as ``A700``, and ``cut off`` where there was none."""
    return "cut off" if status is None else f"{status:04X}"


def sop_class_label(uid: str) -> str:
    """The name of a Storage SOP Class; of any other, which a peer may have made up, ``other``."""
    return name_of(uid) if uid in STORAGE_SOP_CLASSES else OTHER
