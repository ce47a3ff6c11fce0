"""Census: who is connected, and whether there is room for one more."""

from collections import Counter
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


@attrs.define(eq=False)
class Census:
    """Counts associations, and the connections without one apart from them.

    The latter are let in always; where they are too many, the oldest goes: of the hosts that have more than their
    share of them, if there are any, so that whoever opens many harms himself first.
    """

    _most: int
    _most_of_a_host: int
    _most_unassociated: int
    _seats: Counter[str] = attrs.field(init=False, factory=Counter)  # associations by host
    _unassociated: dict[Connection, str] = attrs.field(init=False, factory=dict)  # and their hosts; the oldest first
    _crowds: Counter[str] = attrs.field(init=False, factory=Counter)  # how many of them each host has

    @classmethod
    def from_config(cls, config: Config) -> "Census":
        return cls(config.max_associations, config.max_associations_per_peer, config.max_unassociated)

    def join(self, connection: Connection) -> None:
        """A connection is made."""
        host = self._unassociated[connection] = connection.host
        self._crowds[host] += 1
        if len(self._unassociated) > self._most_unassociated:
            evicted = self._to_evict()
            self.leave(evicted)
            evicted.evict(
                Excess(
                    "max_unassociated", f"more than {self._most_unassociated} connections are without an association"
                )
            )

    def leave(self, connection: Connection) -> None:
        """It has an association now, or is lost."""
        host = self._unassociated.pop(connection, None)
        if host is not None:
            _give_back(self._crowds, host)

    def _to_evict(self) -> Connection:
        oldest = next(iter(self._unassociated))
        share = max(self._most_unassociated // SHARES, 1)
        crowded = (each for each, host in self._unassociated.items() if self._crowds[host] > share)
        return next(crowded, oldest)

    def full(self, host: str) -> Excess | None:
        """Why `host` must not have another association, or None."""
        if self._seats.total() >= self._most:
            return Excess("max_associations", f"{self._most} associations are open")
        if self._seats[host] >= self._most_of_a_host:
            return Excess("max_associations_per_peer", f"{self._most_of_a_host} associations with this host are open")
        return None

    def seat(self, host: str) -> None:
        """`host` has one more association."""
        self._seats[host] += 1

    def unseat(self, host: str) -> None:
        """One of its associations, and all that was to be done for it, is over."""
        _give_back(self._seats, host)


def _give_back(places: Counter[str], host: str) -> None:
    places[host] -= 1
    if not places[host]:
        del places[host]
