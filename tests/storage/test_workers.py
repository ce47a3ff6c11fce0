# mypy: allow-untyped-calls
"""Who does the blocking work. No thread runs here: the pool and the reactor are doubles."""

from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storescp.storage import workers
from storescp.storage.workers import AtOnce, Threads

Callback = Callable[[bool, Any], None]


class Pool:
    """Writes down its life; runs work when the test says so."""

    made: list["Pool"]
    threadFactory: Callable[..., Thread] = Thread

    def __init__(self, minimum: int, maximum: int, name: str) -> None:
        self.life: list[Any] = [(minimum, maximum, name)]
        self.queue: list[tuple[Callback, Callable[[], Any]]] = []
        self.made.append(self)

    def start(self) -> None:
        self.life.append("start")

    def stop(self) -> None:
        self.life.append("stop")

    def callInThreadWithCallback(self, callback: Callback, work: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.queue.append((callback, lambda: work(*args, **kwargs)))

    def work(self) -> None:
        for callback, work in self.queue:
            callback(True, work())


class Reactor:
    """What threads hand back waits until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        self.waiting.append(lambda: function(*args))


class ThreadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        Pool.made = []
        self.patch(workers, "ThreadPool", Pool)
        self.reactor = Reactor()
        self.threads = Threads(self.reactor, count=2)  # type: ignore[arg-type]

    def test_rounds(self) -> None:
        """Every round has threads of its own, at most as many as wanted, and a stop without a start is nothing."""
        self.threads.stop()
        for _ in range(2):
            self.threads.start()
            self.threads.stop()
            self.threads.stop()
        self.assertEqual([[(0, 2, "storage"), "start", "stop"]] * 2, [pool.life for pool in Pool.made])

    def test_daemons(self) -> None:
        """A thread that a disk never lets go does not keep the process at its end."""
        self.threads.start()
        thread = Pool.made[0].threadFactory(target=print, name="storage-1")
        self.assertEqual((True, "storage-1"), (thread.daemon, thread.name))

    def test_run(self) -> None:
        """Work runs on a thread, and what it returns comes back on the reactor's."""
        self.threads.start()
        result = self.threads.run(divmod, 7, 2)
        self.assertNoResult(result)
        Pool.made[0].work()
        self.assertNoResult(result)
        self.reactor.waiting[0]()
        self.assertEqual((3, 1), self.successResultOf(result))


class AtOnceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.workers = AtOnce()
        self.workers.start()
        self.addCleanup(self.workers.stop)

    def test_result(self) -> None:
        """Work is done, with all its arguments, when `run` returns."""
        self.assertEqual(255, self.successResultOf(self.workers.run(int, "ff", base=16)))

    def test_failure(self) -> None:
        """What work raises fails its Deferred, not the caller."""
        self.failureResultOf(self.workers.run(divmod, 1, 0), ZeroDivisionError)
