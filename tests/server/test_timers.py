# mypy: allow-untyped-calls
"""Timer: one delayed call, started again as often as bytes come."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from storescp.server.timers import Timer


class TimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []

    def timer(self, seconds: float | None) -> Timer:
        return Timer(self.clock, seconds, lambda: self.expired.append(self.clock.seconds()))

    def check(self, expired: list[float]) -> None:
        """It has expired at these times, and nothing runs any more."""
        self.assertEqual((expired, []), (self.expired, self.clock.getDelayedCalls()))

    def test_expires(self) -> None:
        """It expires once, when its seconds have passed since the start and not before."""
        self.timer(2.5).start()
        self.clock.advance(2.25)
        self.assertEqual([], self.expired)
        self.clock.advance(0.25)
        self.clock.advance(10)
        self.check([2.5])

    def test_since(self) -> None:
        """What has begun before is over by so much earlier; at once, where it would have been over already."""
        timer = self.timer(2)
        self.clock.advance(10)
        timer.start(9)
        self.clock.advance(1)
        timer.start(7)
        self.clock.advance(0)
        self.check([11.0, 11.0])

    def test_start_again(self) -> None:
        """Each start begins the seconds anew."""
        timer = self.timer(2)
        for _ in range(5):
            timer.start()
            self.clock.advance(1.25)
        self.assertEqual([], self.expired)
        self.clock.pump([0.25] * 8)
        self.check([7.0])  # two seconds after the last start, at 5.0

    def test_start_again_is_cheap(self) -> None:
        """A start of a timer that runs makes no delayed call and moves none; it is still on time."""
        timer = self.timer(2)
        timer.start()
        (call,) = self.clock.getDelayedCalls()
        self.clock.advance(1)
        timer.start()
        self.assertEqual(([call], 2.0), (self.clock.getDelayedCalls(), call.getTime()))
        self.clock.pump([1.0] * 5)
        self.check([3.0])

    def test_stop(self) -> None:
        """A timer that was stopped does not expire, and has no delayed call; to stop it twice is nothing."""
        timer = self.timer(2)
        timer.stop()
        timer.start()
        self.clock.advance(1)
        timer.stop()
        timer.stop()
        self.check([])
        self.clock.advance(10)
        self.check([])

    def test_start_after_stop(self) -> None:
        """A start after a stop counts from that start."""
        timer = self.timer(2)
        timer.start()
        self.clock.advance(1)
        timer.stop()
        timer.start()
        self.clock.advance(1.5)
        self.assertEqual([], self.expired)
        self.clock.advance(0.5)
        self.check([3.0])

    def test_start_when_expired(self) -> None:
        """It may be started again from what it calls."""

        def expired() -> None:
            self.expired.append(self.clock.seconds())
            timer.start()

        timer = Timer(self.clock, 2, expired)
        timer.start()
        self.clock.pump([1.0] * 5)
        timer.stop()
        self.check([2.0, 4.0])

    def test_unlimited(self) -> None:
        """Without a number of seconds it never runs."""
        timer = self.timer(None)
        timer.start()
        timer.stop()
        self.check([])
