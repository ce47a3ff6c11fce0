"""A program whose disk takes its time for every call: ``python -m tests.hostile.slow_disk DIRECTORY``."""

import sys
import time
from typing import Any

from storescp import Config
from storescp.program.process import take_over
from storescp.program.service import service_for
from storescp.storage.directory import DirectoryStorage
from storescp.storage.disk import Disk
from storescp.storage.workers import Threads

PAUSE = 0.2  # seconds


class SlowDisk(Disk):
    def __getattribute__(self, name: str) -> Any:
        time.sleep(PAUSE)
        return super().__getattribute__(name)


def main(directory: str) -> None:
    from twisted.internet import reactor as installed  # noqa: PLC0415  # where this is a program, and no test

    reactor: Any = installed
    take_over(reactor)
    storage = DirectoryStorage(directory, Threads(reactor), disk=SlowDisk())
    service = service_for(Config(listen=("tcp:0:interface=127.0.0.1",)), storage=storage, reactor=reactor)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    (address,) = service.addresses
    print(f"storescp: listening on port {address.port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
