"""Census: who is connected, and whether there is room for one more."""

from collections import Counter
from collections.abc import Hashable
from typing import Protocol

import attrs

from storescp.config import Config
from storescp.errors import Excess

SHARES = 8  # so many hosts can fill the connections without an association before any is called a crowd


class Connection(Protocol):
    """What the census knows of a connection."""

    @property
    def host(self) -> str:
        """Of the peer, by which its connections are known as one's."""

    def evict(self, cause: Excess) -> None:
        """End now: another needs the place."""


@attrs.frozen
class Seat:
    """A place for an association, one of `holder`'s: a host's, or that of an entry with a limit of its own."""

    holder: Hashable
    most: int | None = None  # that `holder` may have; None: what any host may


@attrs.define(eq=False)
class Census:
    """Counts associations, and the connections without one apart from them.

    The latter are let in always; where they are too many, the oldest goes: of the hosts that have more than their
    share of them, if there are any, so that whoever opens many harms himself first.
    """

    _most: int
    _most_of_a_host: int
    _most_unassociated: int
    _seats: Counter[Hashable] = attrs.field(init=False, factory=Counter)  # associations by who holds them
    _unassociated: dict[Connection, None] = attrs.field(init=False, factory=dict)  # the oldest first
    finishing: int = attrs.field(init=False, default=0)  # instances that were received and are not yet answered

    @classmethod
    def from_config(cls, config: Config) -> "Census":
        return cls(config.max_associations, config.max_associations_per_peer, config.max_unassociated)

    def join(self, connection: Connection) -> None:
        """A connection is made."""
        self._unassociated[connection] = None
        if len(self._unassociated) > self._most_unassociated:
            evicted = self._to_evict()
            del self._unassociated[evicted]
            evicted.evict(
                Excess(
                    "max_unassociated", f"more than {self._most_unassociated} connections are without an association"
                )
            )

    def leave(self, connection: Connection) -> None:
        """It has an association now, or is lost."""
        self._unassociated.pop(connection, None)

    def _to_evict(self) -> Connection:
        # The hosts are asked for now: behind a proxy they were not known when the connections came.
        hosts = {connection: connection.host for connection in self._unassociated}
        crowds = Counter(hosts.values())
        share = max(self._most_unassociated // SHARES, 1)
        crowded = (connection for connection, host in hosts.items() if crowds[host] > share)
        return next(crowded, next(iter(hosts)))

    def full(self, seat: Seat) -> Excess | None:
        """Why this seat must not be taken, or None."""
        taken = self._seats[seat.holder]
        if self._seats.total() >= self._most:
            return Excess("max_associations", f"{self._most} associations are open")
        if seat.most is not None and taken >= seat.most:
            return Excess("allow_file", f"{taken} associations of its entry are open")
        if seat.most is None and taken >= self._most_of_a_host:
            return Excess("max_associations_per_peer", f"{self._most_of_a_host} associations with this host are open")
        return None

    def take(self, seat: Seat) -> None:
        """There is one more association."""
        self._seats[seat.holder] += 1

    def give_back(self, seat: Seat) -> None:
        """An association, and all that was to be done for it, is over."""
        self._seats[seat.holder] -= 1
        if not self._seats[seat.holder]:
            del self._seats[seat.holder]
