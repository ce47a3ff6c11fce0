"""One instance at a time for each name."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.locks import NameLocks


class NameLocksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.locks = NameLocks()
        self.begun: list[str] = []

    def run_in(self, name: str, what: str) -> "tuple[Deferred[str], Deferred[str]]":
        """What is awaited in `name`, and what fires with it."""
        awaited: Deferred[str] = Deferred()

        def work(what: str) -> "Deferred[str]":
            self.begun.append(what)
            return awaited

        return awaited, self.locks.run(name, work, what)

    def test_same_name(self) -> None:
        """Who wants a name that is in use waits until it is not, in the order of coming."""
        runs = [self.run_in("a", what) for what in ("first", "second", "third")]
        self.assertEqual(["first"], self.begun)
        runs[0][0].callback("done")
        self.assertEqual((["first", "second"], "done"), (self.begun, self.successResultOf(runs[0][1])))
        runs[1][0].callback("done")
        self.assertEqual(["first", "second", "third"], self.begun)
        self.assertNoResult(runs[2][1])

    def test_other_name(self) -> None:
        """Who wants another name does not wait."""
        self.run_in("a", "first")
        self.run_in("b", "second")
        self.assertEqual(["first", "second"], self.begun)

    def test_error(self) -> None:
        """A name is free again after what was done under it has failed, and the failure is told."""
        awaited, ran = self.run_in("a", "first")
        self.run_in("a", "second")
        awaited.errback(ZeroDivisionError())
        self.failureResultOf(ran, ZeroDivisionError)
        self.assertEqual(["first", "second"], self.begun)

    def test_taken_at_once(self) -> None:
        """A name that is taken while another run of it ends is not forgotten with that."""
        first, ran = self.run_in("a", "first")
        second, ran_second = self.run_in("a", "second")
        second.callback("done")
        ran_second.addCallback(lambda _: self.run_in("a", "third"))
        first.callback("done")
        self.run_in("a", "fourth")
        self.assertEqual((["first", "second", "third"], "done"), (self.begun, self.successResultOf(ran)))

    def test_forgotten(self) -> None:
        """A name that nobody uses any more costs nothing."""
        for _ in range(2):
            for awaited, _ran in [self.run_in("a", "first"), self.run_in("a", "second")]:
                awaited.callback("done")
        self.assertEqual({}, self.locks._locks)
