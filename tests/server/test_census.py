# mypy: allow-untyped-calls
"""Census: who must go when there are too many, and whether there is room for one more association."""

import weakref

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.errors import Excess
from storescp.server.census import Census, Seat
from tests.strategies import PROPERTY


@attrs.define(eq=False)
class Guest:
    """A connection of the host that its name begins with; it writes its name down when it is sent away."""

    name: str
    gone: list[str]
    causes: list[Excess] = attrs.field(factory=list)

    @property
    def host(self) -> str:
        return self.name if isinstance(self.name, Host) else self.name[0]

    def evict(self, cause: Excess) -> None:
        self.gone.append(self.name)
        self.causes.append(cause)


class Host(str):
    """Text that can be watched."""


class EvictionTests(SynchronousTestCase):
    """Connections without an association."""

    def setUp(self) -> None:
        self.gone: list[str] = []
        self.guests: dict[str, Guest] = {}

    def census(self, most: int) -> None:
        self.gone.clear()
        self.subject = Census(1, 1, most)

    def join(self, *names: str) -> list[str]:
        """Who is sent away while these come, one after the other."""
        before = len(self.gone)
        for name in names:
            self.subject.join(self.guests.setdefault(name, Guest(name, self.gone)))
        return self.gone[before:]

    def leave(self, *names: str) -> None:
        for name in names:
            self.subject.leave(self.guests[name])

    def test_room(self) -> None:
        """As many as may be here stay."""
        self.census(3)
        self.assertEqual([], self.join("a1", "b1", "a2"))

    def test_one_more(self) -> None:
        """Of one host the oldest goes, one for each that comes."""
        self.census(3)
        self.join("a1", "a2", "a3")
        self.assertEqual([["a1"], ["a2"]], [self.join("a4"), self.join("a5")])

    def test_share(self) -> None:
        """A host that has an eighth of the places is no crowd: where there is none the oldest of all goes."""
        self.census(64)
        self.join("a1", *(f"{host}{number}" for host in "bcdefgh" for number in range(8)), *(f"i{n}" for n in range(7)))
        self.assertEqual(["a1"], self.join("j1"))

    def test_crowd(self) -> None:
        """A host that has more is one: its oldest goes, although another's is older."""
        self.census(64)
        self.join("a1", *(f"{host}{number}" for host in "bcdefgh" for number in range(8)), *(f"i{n}" for n in range(7)))
        self.assertEqual(["e0", "e1"], self.join("e8", "e9"))

    def test_newcomer_tips_it(self) -> None:
        """The newcomer counts with its host: if that makes a crowd of it, its older connection goes."""
        self.census(4)
        self.join("a1", "b1", "c1", "d1")
        self.assertEqual(["c1"], self.join("c2"))

    def test_crowds(self) -> None:
        """Of several crowds, of whatever size, the oldest goes."""
        self.census(7)
        self.join("a1", "b1", "c1", "b2", "c2", "c3", "c4")
        self.assertEqual([["b1"], ["c1"]], [self.join("d1"), self.join("e1")])

    def test_flood(self) -> None:
        """A host that opens one after the other drives out its own, and never the only one of another."""
        self.census(3)
        self.join("a1", "b1")
        self.assertEqual([f"b{number}" for number in range(1, 20)], self.join(*(f"b{n}" for n in range(2, 22))))

    def test_all_alone(self) -> None:
        """Where each host has one the oldest of all goes."""
        self.census(2)
        self.join("a1", "b1")
        self.assertEqual([["a1"], ["b1"]], [self.join("c1"), self.join("d1")])

    def test_crowd_that_has_gone(self) -> None:
        """A host whose other connections have left, or were sent away, is no crowd any more."""
        self.census(3)
        self.join("a1", "b1", "b2")
        self.leave("b2")
        self.assertEqual([[], ["a1"]], [self.join("c1"), self.join("d1")])
        self.assertEqual([["d1"], ["b1"]], [self.join("d2"), self.join("e1")])

    def test_place_for_one(self) -> None:
        """The newcomer stays even where there is place for a single one."""
        self.census(1)
        self.assertEqual([[], ["a1"], ["b1"]], [self.join("a1"), self.join("b1"), self.join("b2")])

    def test_back_again(self) -> None:
        """One that was away, as an association is, and came back is the youngest."""
        self.census(3)
        self.join("a1", "a2", "a3")
        self.leave("a1")
        self.assertEqual([[], ["a2"], ["a3"], ["a1"]], [self.join(name) for name in ("a1", "a4", "a5", "a6")])

    def test_left(self) -> None:
        """One that has left makes room, and is not sent away any more."""
        self.census(2)
        self.join("a1", "a2")
        self.leave("a1")
        self.assertEqual([[], ["a2"]], [self.join("a3"), self.join("a4")])

    def test_left_after_all(self) -> None:
        """One that was sent away, or never was here, may leave: that makes room for nobody."""
        self.census(1)
        self.join("a1", "a2")
        self.leave("a1", "a1")
        self.subject.leave(Guest("b1", self.gone))
        self.assertEqual(["a2"], self.join("a3"))

    def test_cause(self) -> None:
        """It is told why, and which limit that is."""
        self.census(2)
        self.join("a1", "a2", "a3")
        (cause,) = self.guests["a1"].causes
        self.assertEqual(
            ("more than 2 connections are without an association", "max_unassociated"), (str(cause), cause.limit)
        )

    @PROPERTY
    @given(st.integers(1, 20), st.text("abcde", max_size=40))
    def test_any(self, most: int, hosts: str) -> None:
        """Whoever comes, one goes for each that is too many: never the newcomer, and of a crowd if there is one."""
        self.setUp()
        self.census(most)
        here: list[str] = []
        for number, host in enumerate(hosts):
            here.append(f"{host}{number}")
            gone = self.join(here[-1])
            crowded = [each for each in here if 8 * sum(other[0] == each[0] for other in here) > max(most, 8)]
            self.assertEqual((crowded or here)[:1] if len(here) > most else [], gone)
            self.assertNotIn(here[-1], gone)
            here = [each for each in here if each not in gone]


class SeatTests(SynchronousTestCase):
    """Associations."""

    def check(self, census: Census, **expected: str) -> None:
        """For each host which limit keeps it out, if any."""
        self.assertEqual(expected, {host: getattr(census.full(Seat(host)), "limit", "") for host in expected})

    def test_in_all(self) -> None:
        """As many associations as may be are let in, from whatever host, and no more."""
        census = Census(3, 9, 1)
        for host in "aab":
            self.check(census, a="", b="", c="")
            census.take(Seat(host))
        self.check(census, a="max_associations", b="max_associations", c="max_associations")

    def test_of_a_host(self) -> None:
        """One host has as many as it may have; that is nothing to the others."""
        census = Census(9, 2, 1)
        for host in "aba":
            self.check(census, a="", b="")
            census.take(Seat(host))
        self.check(census, a="max_associations_per_peer", b="", c="")

    def test_both(self) -> None:
        """Where both limits are reached it is the one of all that is told."""
        census = Census(2, 2, 1)
        census.take(Seat("a"))
        census.take(Seat("a"))
        self.check(census, a="max_associations")

    def test_words(self) -> None:
        """What is told is how many there are."""
        census = Census(2, 1, 1)
        census.take(Seat("a"))
        self.assertEqual("1 associations with this host are open", census.full(Seat("a")))
        census.take(Seat("b"))
        self.assertEqual("2 associations are open", census.full(Seat("a")))

    def test_given_back(self) -> None:
        """A seat that is given back is another's, one for one."""
        census = Census(2, 2, 1)
        census.take(Seat("a"))
        census.take(Seat("a"))
        census.give_back(Seat("a"))
        self.check(census, a="", b="")
        census.take(Seat("b"))
        self.check(census, a="max_associations", b="max_associations")

    def test_given_back_of_a_host(self) -> None:
        """So is one of a host's own."""
        census = Census(9, 2, 1)
        census.take(Seat("a"))
        census.take(Seat("a"))
        census.give_back(Seat("a"))
        self.check(census, a="")
        census.take(Seat("a"))
        self.check(census, a="max_associations_per_peer")

    def test_apart(self) -> None:
        """Connections without an association take no seats, and associations none of their places."""
        census = Census(1, 1, 1)
        gone: list[str] = []
        census.join(Guest("a1", gone))
        self.check(census, a="")
        census.take(Seat("a"))
        self.assertEqual([], gone)

    def test_forgotten(self) -> None:
        """A host that has no seat and no connection any more is forgotten: a year has many hosts."""
        census = Census(9, 9, 1)
        host = Host("a")
        census.full(Seat(host))
        census.take(Seat(host))
        census.take(Seat(host))
        census.give_back(Seat(host))
        census.give_back(Seat(host))
        guests = [Guest(host, []) for _ in range(2)]
        for guest in guests:
            census.join(guest)
        census.leave(guests[1])
        watched = weakref.ref(host)
        del host, guests, guest
        self.assertIsNone(watched())

    def test_configuration(self) -> None:
        """Each limit is the one that the configuration calls so."""
        census = Census.from_config(Config(max_associations=3, max_associations_per_peer=2, max_unassociated=1))
        census.take(Seat("a"))
        census.take(Seat("a"))
        self.check(census, a="max_associations_per_peer", b="")
        census.take(Seat("b"))
        self.check(census, a="max_associations", b="max_associations")
        gone: list[str] = []
        census.join(Guest("a1", gone))
        census.join(Guest("a2", gone))
        self.assertEqual(["a1"], gone)
