"""Receives instances into a database: ``python3 own_storage.py 11112 instances.db``."""

import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import react
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp import (
    Config,
    IInstanceSink,
    IStorage,
    Status,
    StoreFailure,
    StoreRequest,
    file_header,
    service_for,
)

TABLE = "create table if not exists instance (uid text, file blob)"
INSERT = "insert into instance values (?, ?)"

# Runs a statement with its values, as `ConnectionPool.runOperation` does.
Run = Callable[[str, tuple[str, bytearray]], "Deferred[Any]"]


@implementer(IInstanceSink)
class Row:
    """One instance: gathered in memory, inserted when it is whole."""

    name = None

    def __init__(self, request: StoreRequest, run: Run) -> None:
        self.uid = request.sop_instance_uid
        self.file = bytearray(file_header(request))
        self._run = run

    def write(self, fragment: memoryview) -> None:
        self.file += fragment

    def finish(self) -> "Deferred[Any]":
        """Success is sent when this has fired, and not before."""
        return self._run(INSERT, (self.uid, self.file)).addErrback(refuse)

    def abort(self) -> None:
        """The rest will never come; nothing was inserted, so there is nothing to take back."""
        self.file.clear()


def refuse(failure: Failure) -> NoReturn:
    """The sender gets A700H, out of resources; the words of the database are for our log alone."""
    failure.trap(sqlite3.Error)
    raise StoreFailure(failure.getErrorMessage(), Status.OUT_OF_RESOURCES)


@implementer(IStorage)
class Database:
    """A table of instances, each a DICOM file."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def start(self) -> None:
        """Nothing to do: the table is there before anybody listens."""

    def stop(self) -> "Deferred[None]":
        """Nothing to wait for: the pool lets its threads finish when the reactor stops."""
        return succeed(None)

    def ready(self) -> bool:
        """Always worth a try: a failure is answered to who sends."""
        return True

    def open(self, request: StoreRequest) -> Row:
        return Row(request, self._run)


async def main(reactor: Any, port: str, path: str) -> None:
    reactor.seconds = time.monotonic  # a clock that nobody sets
    pool = ConnectionPool("sqlite3", path, check_same_thread=False, cp_max=1)
    await pool.runOperation(TABLE)
    # What is gathered in memory must be neither large nor many at a time.
    config = Config(port=int(port), max_instance_size=64 * 1024 * 1024, max_associations=16)
    service = service_for(config, storage=Database(pool.runOperation), reactor=reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    await Deferred()  # until a signal comes


if __name__ == "__main__":
    react(main, sys.argv[1:])
