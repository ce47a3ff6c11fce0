"""A clock for what depends on how long things take."""

from twisted.internet.task import Clock


class BusyClock(Clock):
    """Every look at it takes `step` seconds, as if something had been done before."""

    step = 0.0

    def seconds(self) -> float:
        self.rightNow += self.step
        return super().seconds()
