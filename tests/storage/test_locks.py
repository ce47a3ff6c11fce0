"""One at a time: for a file, and for each name."""

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from storescp.storage.locks import Lock, NameLocks


class LockTests(SynchronousTestCase):
    """Who has a lock."""

    def setUp(self) -> None:
        self.lock = Lock()
        self.begun: list[str] = []

    def take(self, *who: str) -> None:
        for each in who:
            self.lock.take(partial(self.begun.append, each))

    def test_order(self) -> None:
        """Who wants it while another has it waits, and has it in the order of coming."""
        self.take("first", "second", "third")
        begun = [list(self.begun)]
        for _ in range(2):
            self.lock.release()
            begun.append(list(self.begun))
        self.assertEqual([["first"], ["first", "second"], ["first", "second", "third"]], begun)

    def test_taken(self) -> None:
        """It is free once the last has released it."""
        self.take("first", "second")
        taken = [self.lock.taken]
        for _ in range(2):
            self.lock.release()
            taken.append(self.lock.taken)
        self.assertEqual([True, True, False], taken)

    def test_released_at_once(self) -> None:
        """Who releases it before it has been told that it has it leaves it to the next."""
        self.take("first")
        self.lock.take(self.lock.release)
        self.take("third")
        self.lock.release()
        self.assertEqual(["first", "third"], self.begun)

    def test_left(self) -> None:
        """Who no longer waits for it does not get it, and holds up nobody."""
        leaving = partial(self.begun.append, "second")
        self.take("first")
        self.lock.take(leaving)
        self.take("third")
        self.lock.leave(leaving)
        self.lock.release()
        self.assertEqual(["first", "third"], self.begun)


class NameLocksTests(SynchronousTestCase):
    """Who has a name."""

    def setUp(self) -> None:
        self.locks = NameLocks()
        self.begun: list[str] = []

    def take(self, name: str, *who: str) -> None:
        for each in who:
            self.locks.take(name, partial(self.begun.append, each))

    def test_same_name(self) -> None:
        """Who wants a name that is in use waits until it is not."""
        self.take("a", "first", "second")
        self.assertEqual(["first"], self.begun)
        self.locks.release("a")
        self.assertEqual(["first", "second"], self.begun)

    def test_other_name(self) -> None:
        """Who wants another name does not wait."""
        self.take("a", "first")
        self.take("b", "second")
        self.assertEqual(["first", "second"], self.begun)

    def test_released_at_once(self) -> None:
        """A name that the next one has released before it was told so is free, and can be taken again."""
        self.take("a", "first")
        self.locks.take("a", partial(self.locks.release, "a"))
        self.locks.release("a")
        self.take("a", "third", "fourth")
        self.assertEqual(["first", "third"], self.begun)

    def test_taken_at_once(self) -> None:
        """A name that is taken again while it is released stays taken."""
        self.take("a", "first")
        self.locks.take("a", lambda: self.take("a", "third"))
        self.locks.release("a")
        self.take("a", "fourth")
        self.locks.release("a")
        self.assertEqual(["first", "third"], self.begun)

    def test_forgotten(self) -> None:
        """A name that nobody uses any more costs nothing."""
        self.take("a", "first", "second")
        for _ in range(2):
            self.locks.release("a")
        self.assertEqual({}, self.locks._locks)

    def test_left(self) -> None:
        """Who no longer waits for a name does not get it; when nobody has it, it is forgotten."""
        leaving = partial(self.begun.append, "second")
        self.take("a", "first")
        self.locks.take("a", leaving)
        self.locks.leave("a", leaving)
        self.locks.release("a")
        self.assertEqual((["first"], {}), (self.begun, self.locks._locks))
