"""Sparing: what is said of something that happens again and again."""

import weakref
from collections.abc import Hashable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from storescp.watch.sparing import KINDS, Sparing


class Kind:
    """Anything that can be told apart, and watched."""


class SparingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sparing = Sparing(self.clock.seconds, 1)

    def happens(self, *kinds: Hashable) -> list[int | None]:
        """What is to be said of each: nothing, or how many were left out."""
        return [self.sparing.left_out(kind) for kind in kinds]

    def test_first(self) -> None:
        """The first of a kind is shown, also when the clock has only begun, and none was left out before it."""
        self.assertEqual([0], self.happens("a"))

    def test_again(self) -> None:
        """Within the minute nothing more is shown; the next one after it tells how many there were."""
        self.happens("a")
        self.clock.advance(30)
        self.assertEqual([None, None], self.happens("a", "a"))
        self.clock.advance(29.9)
        self.assertEqual([None], self.happens("a"))
        self.clock.advance(0.1)
        self.assertEqual([3, None], self.happens("a", "a"))

    def test_counted_anew(self) -> None:
        """What was told is not told again."""
        self.happens("a", "a", "a")
        self.clock.advance(60)
        self.assertEqual([2], self.happens("a"))
        self.clock.advance(60)
        self.assertEqual([0, None], self.happens("a", "a"))

    def test_flood(self) -> None:
        """What never stops is shown once a minute, not only when it has stopped."""
        shown = {}
        for second in range(181):
            (count,) = self.happens("a")
            if count is not None:
                shown[second] = count
            self.clock.advance(1)
        self.assertEqual({0: 0, 60: 59, 120: 59, 180: 59}, shown)

    def test_kinds(self) -> None:
        """Each kind has a minute of its own."""
        self.assertEqual([0, 0, None], self.happens("a", "b", "a"))
        self.clock.advance(30)
        self.assertEqual([0], self.happens("c"))
        self.clock.advance(30)
        self.assertEqual([1, 0, None], self.happens("a", "b", "c"))

    def test_several_lines(self) -> None:
        """Where a minute has several lines they are counted from its first; then it is as with one."""
        self.sparing = Sparing(self.clock.seconds, 3)
        self.assertEqual([0], self.happens("a"))
        self.clock.advance(59)
        self.assertEqual([0, 0, None, None], self.happens("a", "a", "a", "a"))
        self.clock.advance(1)
        self.assertEqual([2, 0, 0, None], self.happens("a", "a", "a", "a"))

    def test_many_kinds(self) -> None:
        """As many kinds are remembered as there is place for; all others have one minute together."""
        self.assertEqual([0] * KINDS, self.happens(*range(KINDS)))
        self.assertEqual([0, None, None], self.happens("x", "y", "x"))
        self.assertEqual([None] * KINDS, self.happens(*range(KINDS)))

    def test_not_remembered(self) -> None:
        """Of those others none is remembered by itself."""
        kind = Kind()
        watched = weakref.ref(kind)
        self.happens(*range(KINDS), kind)
        del kind
        self.assertIsNone(watched())

    def test_room(self) -> None:
        """A kind whose minute is over makes room for another, the oldest first."""
        self.happens("a")
        self.clock.advance(30)
        self.happens(*range(KINDS - 1))
        self.clock.advance(30)
        self.assertEqual([0, None], self.happens("x", "x"))
        self.assertEqual([0, None], self.happens("y", "z"))
        self.assertEqual([None] * (KINDS - 1), self.happens(*range(KINDS - 1)))

    def test_shown_again(self) -> None:
        """One that was shown again is young again: another one makes room."""
        self.happens("a", *range(KINDS - 1))
        self.clock.advance(60)
        self.happens("a")
        self.assertEqual([0, 0, None], self.happens("x", "y", "a"))
