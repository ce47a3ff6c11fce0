"""Receives instances into a database: ``python own_storage.py 11112 instances.db``."""

import sys
from typing import Any

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from zope.interface import implementer

from storescp import Config, IInstanceSink, IStorage, StorageSCPFactory, StoreRequest, file_header


@implementer(IInstanceSink)
class Row:
    """One instance: gathered in memory, inserted when it is whole."""

    name = None

    def __init__(self, request: StoreRequest, pool: ConnectionPool) -> None:
        self.uid, self.pool, self.data = request.sop_instance_uid, pool, bytearray(file_header(request))

    def write(self, fragment: memoryview) -> None:
        self.data += fragment

    def finish(self) -> "Deferred[None]":  # Success is sent when this has fired
        return self.pool.runOperation("insert into instance values (?, ?)", (self.uid, bytes(self.data)))

    def abort(self) -> None:
        pass


@implementer(IStorage)
class Database:
    """A table of instances, each a DICOM file."""

    def __init__(self, path: str) -> None:
        self.pool = ConnectionPool("sqlite3", path, check_same_thread=False, cp_max=1)

    def start(self) -> None:
        self.pool.runOperation("create table if not exists instance (uid text, file blob)")

    def stop(self) -> "Deferred[None]":
        return succeed(None)

    def ready(self) -> bool:  # when not, new associations are rejected for now
        return True

    def open(self, request: StoreRequest) -> Row:
        return Row(request, self.pool)


async def main(reactor: Any, port: str, path: str) -> None:
    factory = StorageSCPFactory(Config(), Database(path), reactor)
    listening = await TCP4ServerEndpoint(reactor, int(port)).listen(factory)
    print(f"storescp: listening on port {listening.getHost().port}", flush=True)
    await Deferred()  # until a signal comes


if __name__ == "__main__":
    react(main, sys.argv[1:])
