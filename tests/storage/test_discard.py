# mypy: allow-untyped-calls
"""DiscardStorage, for ``--ignore``."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from storescp.interfaces import IInstanceSink, IStorage
from storescp.storage.discard import DiscardStorage
from tests.storage import request


class DiscardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.storage = DiscardStorage()
        self.storage.start()

    def test_contracts(self) -> None:
        """The storage and its sinks are what an embedder's would have to be."""
        verifyObject(IStorage, self.storage)
        verifyObject(IInstanceSink, self.storage.open(request()))

    def test_success(self) -> None:
        """An instance of any name and content is a success at once, and is never waited for."""
        for uid in ("1.2.3", "", "../../etc/passwd"):
            sink = self.storage.open(request(uid))
            self.assertEqual(
                [None, None, None], [sink.name, sink.write(memoryview(bytes(100))), sink.write(memoryview(b""))]
            )
            self.successResultOf(sink.finish())

    def test_ready(self) -> None:
        """It is always ready: no disk can fail it."""
        self.assertEqual(True, self.storage.ready())

    def test_abort(self) -> None:
        """An aborted instance does not keep the storage from stopping, nor does one still open."""
        self.storage.open(request()).abort()
        self.storage.open(request())
        self.assertIsNone(self.successResultOf(self.storage.stop()))
