"""Counts what each AE title sends and what becomes of it: ``python3 counting_observer.py 11112``.

At the end of each association a line of JSON on standard error has the sums for its calling AE
title so far. Instances become files of the directory ``images``.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from storescp import (
    Association,
    AssociationObserver,
    Config,
    StoreFailure,
    StoreRequest,
    kind_of,
    service_for,
)

# AE titles that are counted apart: a peer may call itself anything, and something else each time.
TITLES = 1000
OTHERS = "all other AE titles"  # longer than any AE title


@attrs.define
class Sums:
    """`refused` are instances by status, `aborted` associations by the kind of the cause."""

    ae_title: str
    associations: int = 0
    instances: int = 0
    bytes: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    aborted: Counter[str] = attrs.field(factory=Counter)


class CountingObserver(AssociationObserver):
    """Counts, and gives a line to `tell` at the end of each association."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._sums: dict[str, Sums] = {}

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None:
        sums = self._sums_of(association)
        sums.instances += 1
        sums.bytes += size

    def instance_refused(
        self, association: Association, request: StoreRequest, failure: StoreFailure
    ) -> None:
        self._sums_of(association).refused[f"{failure.status:04X}"] += 1

    def association_aborted(self, association: Association, abort: object, cause: str) -> None:
        self._sums_of(association).aborted[kind_of(cause)] += 1

    def association_ended(self, association: Association) -> None:
        sums = self._sums_of(association)
        sums.associations += 1
        self._tell(json.dumps(attrs.asdict(sums)))  # JSON escapes what a title may have in it

    def _sums_of(self, association: Association) -> Sums:
        title = association.calling_ae_title
        if title not in self._sums and len(self._sums) >= TITLES:
            title = OTHERS
        return self._sums.setdefault(title, Sums(title))


async def main(reactor: Any, port: str) -> None:
    reactor.seconds = time.monotonic  # a clock that nobody sets
    observer = CountingObserver(lambda line: print(line, file=sys.stderr))
    config = Config(port=int(port), output_directory="images")
    service = service_for(config, observers=[observer], reactor=reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    await Deferred()  # until a signal comes


if __name__ == "__main__":
    react(main, sys.argv[1:])
