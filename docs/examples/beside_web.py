"""A Storage SCP and a web server in one process: ``python3 beside_web.py 11112 8080``.

Instances become files of the directory ``images``; http://localhost:8080/ shows the latest, for
this machine alone.
"""

import json
import sys
import time
from collections import deque
from typing import Any

from twisted.application.service import MultiService
from twisted.application.strports import service
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from storescp import Association, AssociationObserver, Config, StoreRequest, service_for


class Latest(AssociationObserver):
    """Keeps what has been stored, the latest first, as long as there is room for it."""

    def __init__(self, room: int = 20) -> None:
        self.instances: deque[dict[str, str]] = deque(maxlen=room)

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None:
        stored = {"from": association.calling_ae_title, "instance": request.sop_instance_uid}
        self.instances.appendleft(stored)


class Page(Resource):
    """Shows it. Both sides run on the thread of the reactor, so nothing is locked."""

    isLeaf = True

    def __init__(self, latest: Latest) -> None:
        super().__init__()
        self._latest = latest

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "application/json")
        return json.dumps(list(self._latest.instances)).encode() + b"\n"


async def main(reactor: Any, dicom_port: str, web_port: str) -> None:
    reactor.seconds = time.monotonic  # a clock that nobody sets
    latest = Latest()
    config = Config(port=int(dicom_port), output_directory="images")
    endpoint = f"tcp:{web_port}:interface=127.0.0.1"
    services = MultiService()
    service_for(config, observers=[latest], reactor=reactor).setServiceParent(services)
    service(endpoint, Site(Page(latest)), reactor).setServiceParent(services)
    services.privilegedStartService()
    services.startService()
    reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
    await Deferred()  # until a signal comes


if __name__ == "__main__":
    react(main, sys.argv[1:])
