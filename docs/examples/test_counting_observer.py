"""Tests of counting_observer.py: ``python3 -m twisted.trial test_counting_observer``."""

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import counting_observer
from counting_observer import OTHERS, CountingObserver
from storescp import Config, DiscardStorage, StorageSCPFactory
from storescp.testing import SCU, associate_rq


def line(title: str, **sums: Any) -> str:
    none = {"associations": 1, "instances": 0, "bytes": 0, "refused": {}, "aborted": {}}
    return json.dumps({"ae_title": title, **none, **sums})


class CountingObserverTests(SynchronousTestCase):
    """The observer with a storage that keeps nothing; instances may have 10 bytes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        observer = CountingObserver(self.lines.append)
        config = Config(max_instance_size=10)
        self.factory = StorageSCPFactory(config, DiscardStorage(), self.clock, [observer])
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def associate(self, title: str = "CT1") -> SCU:
        scu = SCU(self.factory, self.clock, associate_rq(calling=title))
        self.addCleanup(scu.disconnect)
        return scu

    def test_stored(self) -> None:
        """Instances and their bytes are counted; the line comes when the association has ended."""
        scu = self.associate()
        scu.store("1.2.3", b"12345")
        scu.store("1.2.4", b"678")
        self.assertEqual([], self.lines)
        scu.release()
        self.assertEqual([line("CT1", instances=2, bytes=8)], self.lines)

    def test_refused(self) -> None:
        """What is too large is counted by its status, and stored nowhere."""
        scu = self.associate()
        scu.store("1.2.3", b"12345678901")
        scu.release()
        self.assertEqual([line("CT1", refused={"A700": 1})], self.lines)

    def test_aborted(self) -> None:
        """Aborts are counted by their causes; the sums go on from one association to the next."""
        self.associate().abort()
        self.associate().disconnect()
        self.assertEqual(
            [
                line("CT1", aborted={"peer": 1}),
                line("CT1", associations=2, aborted={"peer": 1, "connection": 1}),
            ],
            self.lines,
        )

    def test_many_titles(self) -> None:
        """Beyond the titles that are counted apart, all others are one."""
        self.patch(counting_observer, "TITLES", 1)
        for title in ("CT1", "CT2", "CT3", "CT1"):
            self.associate(title).release()
        self.assertEqual(
            [line("CT1"), line(OTHERS), line(OTHERS, associations=2), line("CT1", associations=2)],
            self.lines,
        )
