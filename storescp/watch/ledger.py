"""Ledger: an account for each association, of what was stored for it and how it has ended."""

import time
from collections.abc import Callable

import attrs

from storescp.errors import StoreFailure
from storescp.interfaces import Association, AssociationObserver, StoreRequest
from storescp.ul.machine import PAbort
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRQ


@attrs.define
class Account:
    """What an association has come to so far."""

    began: float
    instances: int = 0  # stored
    size: int = 0  # bytes, of their data sets
    refused: int = 0
    cut_off: int = 0
    ended: str = ""  # released or aborted
    cause: str = ""

    @property
    def failed(self) -> int:
        return self.refused + self.cut_off


class Ledger(AssociationObserver):
    """Keeps the accounts of associations that were accepted, and settles each when its association has ended.

    `seconds` is a clock that nobody sets.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self.accounts: dict[Association, Account] = {}
        self.seconds = seconds

    def settle(self, association: Association, account: Account, seconds: float) -> None:
        """The association is over, and has taken so many `seconds`. A subclass says what becomes of the account."""

    def association_accepted(self, association: Association, request: AAssociateRQ, answer: AAssociateAC) -> None:
        self.accounts[association] = Account(self.seconds())

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None:
        account = self.accounts[association]
        account.instances += 1
        account.size += size

    def instance_refused(self, association: Association, request: StoreRequest, failure: StoreFailure) -> None:
        self.accounts[association].refused += 1

    def instance_dropped(self, association: Association, request: StoreRequest, cause: str) -> None:
        self.accounts[association].cut_off += 1

    def association_released(self, association: Association) -> None:
        self.accounts[association].ended = "released"

    def association_aborted(self, association: Association, abort: AAbort | PAbort, cause: str) -> None:
        account = self.accounts.get(association)  # none where it was not yet accepted
        if account is not None:
            account.ended, account.cause = "aborted", cause

    def association_ended(self, association: Association) -> None:
        account = self.accounts.pop(association)
        self.settle(association, account, self.seconds() - account.began)
