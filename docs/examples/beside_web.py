"""A Storage SCP and a web server in one process: ``python beside_web.py 11112 8080``.

The page at http://127.0.0.1:8080/ counts the instances that each modality has sent.
"""

import json
import sys
from collections import Counter

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from storescp import Association, AssociationObserver, Config, StoreRequest, service_for


class Counts(AssociationObserver, Resource):
    """Counts as an observer, shows as a page."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def instance_stored(self, association: Association, request: StoreRequest, size: int) -> None:
        self.counts[association.calling_ae_title] += 1

    def render_GET(self, request: Request) -> bytes:
        request.setHeader("Content-Type", "application/json")
        return json.dumps(self.counts).encode()


if __name__ == "__main__":
    counts = Counts()
    web = TCP4ServerEndpoint(reactor, int(sys.argv[2]), interface="127.0.0.1")
    services = MultiService()
    storage_scp = service_for(Config(port=int(sys.argv[1])), observers=[counts])
    storage_scp.setServiceParent(services)
    StreamServerEndpointService(web, Site(counts)).setServiceParent(services)
    services.privilegedStartService()
    services.startService()
    reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
    print("storescp: listening on port", storage_scp.addresses[0].port, flush=True)
    reactor.run()
