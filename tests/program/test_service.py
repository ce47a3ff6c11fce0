"""A Storage SCP as a service: beside other services, on several endpoints, whole or not at all."""

import io
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trustme
from twisted.application.service import IService, MultiService, Service
from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, ISSLTransport, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogBeginner, LogPublisher, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from storescp.config import Config, ConfigError
from storescp.dimse.commands import CStoreRQ, CStoreRSP
from storescp.errors import CannotStart
from storescp.program import main
from storescp.program.process import take_over
from storescp.program.service import Listening, StorageSCPService, service_for
from storescp.server.factory import StorageSCPFactory
from storescp.server.identity import Realm
from storescp.testing import SCU
from tests.program import make_directory, use_reactor
from tests.program.test_gate import PUBLIC_KEY
from tests.recorders import RecordingObserver, RecordingSink, RecordingStorage

# A C-STORE request, sent alone.
WITHOUT_ITS_DATA_SET = CStoreRQ(
    affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.2", message_id=1, affected_sop_instance_uid="1.2.3"
)


class Socket:
    """A listening socket in memory; it keeps the options that it is given."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[level, option] = value


@implementer(IListeningPort)
class Port:
    """A port in memory that starts and stops its factory as a real one does."""

    def __init__(self, reactor: "Reactor", number: int, factory: StorageSCPFactory, interface: str = "") -> None:
        self._reactor = reactor
        self._interface = interface or "0.0.0.0"
        self.number = number
        self.factory = factory
        self.socket = Socket()

    def startListening(self) -> None:
        if self.number in self._reactor.taken:
            raise CannotListenError("", self.number, OSError(98, "Address already in use"))
        self.factory.doStart()
        self._reactor.listening.append(self)

    def stopListening(self) -> "Deferred[None]":
        self._reactor.listening.remove(self)
        self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        address = IPv6Address if ":" in self._interface else IPv4Address
        return address("TCP", self._interface, self.number)


class Reactor(MemoryReactorClock):
    """A reactor in memory that knows which ports are open."""

    def __init__(self) -> None:
        super().__init__()
        self.listening: list[Port] = []
        self.taken = {104}  # somebody else listens there

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        listening = Port(self, port, factory, interface)
        listening.startListening()
        return listening

    @property
    def open_ports(self) -> list[int]:
        return [port.number for port in self.listening]


class ServiceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.storage = RecordingStorage()

    def make(self, *endpoints: str, **options: Any) -> StorageSCPService:
        config = Config(listen=endpoints, **options)
        return service_for(config, storage=self.storage, reactor=self.reactor)

    def associate(self) -> SCU:
        return SCU(self.reactor.listening[0].factory, self.reactor)


class StartTests(ServiceTestCase):
    def test_service(self) -> None:
        """It is a service like any other."""
        service = self.make(port=11112)
        self.assertTrue(verifyObject(IService, service))

    def test_listens_when_started(self) -> None:
        """Nothing listens before the start, and everything that was asked for after it, in that order."""
        service = self.make("tcp:11113", "tcp:11114", port=11112)
        self.assertEqual(([], []), (self.reactor.open_ports, service.addresses))
        service.startService()
        self.assertEqual([11112, 11113, 11114], self.reactor.open_ports)
        self.assertEqual([IPv4Address("TCP", "0.0.0.0", port) for port in (11112, 11113, 11114)], service.addresses)
        self.assertEqual(["start"], self.storage.calls)

    def test_harden(self) -> None:
        """On every port that it listens on the system is asked to find out which peers are gone, or do not read."""
        self.make("tcp:11113", "tcp:11114", port=11112).startService()
        expected = {
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
            (socket.SOL_SOCKET, socket.SO_SNDBUF): 65536,
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 30,
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 60000,
        }
        self.assertEqual([expected] * 3, [port.socket.options for port in self.reactor.listening])

    def test_same_endpoint_twice(self) -> None:
        """Each endpoint is listened on, also where two are spelled alike."""
        self.make("tcp:0", "tcp:0").startService()
        self.assertEqual([0, 0], self.reactor.open_ports)

    def test_all_endpoints_are_one(self) -> None:
        """Every endpoint leads to the same Storage SCP."""
        self.make("tcp:11113", port=11112).startService()
        for port in self.reactor.listening:
            scu = SCU(port.factory, self.reactor)
            scu.store("1.2.3", b"data")
            scu.release()
        self.assertEqual(["finish", "finish"], [end for sink in self.storage.sinks for end in sink.ends])

    def test_listens_once(self) -> None:
        """Under a parent it listens while there is the right to, and not once more."""
        parent = MultiService()
        self.make(port=11112).setServiceParent(parent)
        parent.privilegedStartService()
        self.assertEqual([11112], self.reactor.open_ports)
        parent.startService()
        self.assertEqual([11112], self.reactor.open_ports)

    def test_joins_a_running_parent(self) -> None:
        """Given to a parent that runs already, it listens at once."""
        parent = MultiService()
        parent.startService()
        self.make(port=11112).setServiceParent(parent)
        self.assertEqual([11112], self.reactor.open_ports)

    def test_beside_another_service(self) -> None:
        """It starts and stops with its neighbours."""
        parent = MultiService()
        neighbour = Service()
        neighbour.setServiceParent(parent)
        service = self.make(port=11112)
        service.setServiceParent(parent)
        parent.startService()
        self.assertEqual([True, True, [11112]], [neighbour.running, service.running, self.reactor.open_ports])
        self.assertIn(service, list(parent))
        self.successResultOf(parent.stopService())
        self.assertEqual([False, False, []], [neighbour.running, service.running, self.reactor.open_ports])

    def test_observers(self) -> None:
        """Observers are told what happens."""
        observer = RecordingObserver()
        config = Config(port=11112)
        service_for(config, storage=self.storage, observers=[observer], reactor=self.reactor).startService()
        self.associate().release()
        self.assertEqual(
            ["association_requested", "association_accepted", "association_released", "association_ended"],
            observer.names,
        )

    def test_reactor_of_the_process(self) -> None:
        """Without a reactor it takes that of the process, and does not touch it before the start."""
        self.assertEqual([], service_for(Config(port=0, ignore=True)).addresses)


class GuardTests(ServiceTestCase):
    """The one line that says that everybody may store."""

    WARNING = (
        "warn",
        "Whoever reaches this server may store: nothing is asked of a peer (--allow, --tls-ca, --users)",
    )

    def logged(self, *endpoints: str, **options: Any) -> list[tuple[str, str]]:
        """What is logged when it starts to listen there."""
        return self.logged_by(self.make(*endpoints, **options))

    def logged_by(self, service: StorageSCPService) -> list[tuple[str, str]]:
        with capturedLogs() as events:
            service.privilegedStartService()
            service.startService()
            self.successResultOf(service.stopService())
        ours = [event for event in events if event["log_namespace"].startswith("storescp")]
        return [(event["log_level"].name, formatEvent(event)) for event in ours]

    def test_everybody(self) -> None:
        """It is logged once, on whatever and how many endpoints others can reach it."""
        for endpoints in (
            ["tcp:11112"],
            ["tcp:11112", "tcp:11113", "tcp6:11114"],
            ["tcp:11112:interface=10.1.2.3"],
            ["tcp6:11112"],
            [r"tcp:11112:interface=2001\:db8\:\:1"],
            ["tcp:11112:interface=127.0.0.1", "tcp:11113"],
            ["haproxy:tcp:11112"],
        ):
            self.assertEqual([self.WARNING], self.logged(*endpoints), endpoints)

    def test_this_machine(self) -> None:
        """It is not where none but this machine can reach it."""
        for endpoint in (
            "tcp:11112:interface=127.0.0.1",
            "tcp:11112:interface=127.1.2.3",
            r"tcp:11112:interface=\:\:1",
            r"tcp6:11112:interface=\:\:1",
            "unix:socket",
            "haproxy:tcp:11112:interface=127.0.0.1",
        ):
            self.assertEqual([], self.logged(endpoint), endpoint)

    def test_gates(self) -> None:
        """Nor is it where anything is asked of who comes."""
        directory = Path(make_directory(self))
        contents = {"allow": b"CT1\n", "users": b"anna:no-passcode\n", "key.pem": PUBLIC_KEY.encode()}
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        gates: dict[str, Any] = {
            "require_called_aet": True,
            "allow": ["CT1"],
            "allow_file": str(directory / "allow"),
            "users": str(directory / "users"),
            "auth": ["memory:anna:secret"],
            "jwt_key": str(directory / "key.pem"),
        }
        for field, value in gates.items():
            self.assertEqual([], self.logged(port=11112, **{field: value}), field)

    def test_certificates(self) -> None:
        """Where TLS asks for a certificate it is not, but where it does not, or an endpoint does without TLS."""
        path = Path(make_directory(self)) / "cert.pem"
        path.write_bytes(trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
        certificate = {"tls_cert": str(path)}
        asking = {**certificate, "tls_ca": str(path)}
        for endpoints, options, logged in (
            (["tls:tcp:2762"], certificate, [self.WARNING]),
            (["tls:tcp:2762"], asking, []),
            (["tls:haproxy:tcp:2762"], asking, []),
            (["tls:tcp:2762", "tcp:11112"], asking, [self.WARNING]),
            (["tls:tcp:2762", "haproxy:tcp:11112"], asking, [self.WARNING]),
            (["tls:tcp:2762", "tcp:11112:interface=127.0.0.1"], asking, []),
            (["tls:tcp:2762:interface=127.0.0.1"], certificate, []),
        ):
            self.assertEqual(logged, self.logged(*endpoints, **options), endpoints)
        self.assertEqual([], self.logged(port=2762, **asking))
        self.assertEqual([self.WARNING], self.logged(port=2762, **certificate))

    def test_portal(self) -> None:
        """Nor is it where the embedder's portal knows who may; but where it takes who says nothing."""
        passcodes = InMemoryUsernamePasswordDatabaseDontUse()
        for checkers, logged in (
            ([passcodes], []),
            ([AllowAnonymousAccess()], [self.WARNING]),
            ([passcodes, AllowAnonymousAccess()], [self.WARNING]),
        ):
            portal = Portal(Realm(), checkers)
            service = service_for(Config(port=11112), storage=self.storage, portal=portal, reactor=self.reactor)
            self.assertEqual(logged, self.logged_by(service))

    def test_anonymous(self) -> None:
        """The same of --auth=anonymous: beside other users it asks for nothing, beside a list it is not alone."""
        for options, logged in (
            ({"auth": ["anonymous"]}, [self.WARNING]),
            ({"auth": ["memory:anna:secret", "anonymous"]}, [self.WARNING]),
            ({"auth": ["anonymous"], "allow": ["CT1"]}, []),
        ):
            self.assertEqual(logged, self.logged(port=11112, **options), options)

    def test_later(self) -> None:
        """An endpoint that takes its time to listen is told of when it does, once."""

        @implementer(IStreamServerEndpoint)
        class Later:
            def __init__(self) -> None:
                self.listening: Deferred[Any] = Deferred()

            def listen(self, protocolFactory: Any) -> "Deferred[Any]":
                return self.listening

        endpoints = [Later(), Later(), Later()]
        factory = StorageSCPFactory(Config(), self.storage, self.reactor)
        guarded = (True, False, False)
        service = StorageSCPService(factory, [Listening("x", *each) for each in zip(endpoints, guarded, strict=True)])
        told = []
        with capturedLogs() as events:
            service.startService()
            for number, endpoint in enumerate(endpoints):
                told.append(len(events))
                endpoint.listening.callback(Port(self.reactor, number, factory))
            told.append(len(events))
        self.assertEqual([0, 0, 1, 1], told)
        self.assertEqual(self.WARNING[1], formatEvent(events[0]))
        self.assertEqual([0, 1, 2], [address.port for address in service.addresses])

    def test_no_gate(self) -> None:
        """It is where what is given asks nothing."""
        options: dict[str, Any] = {
            "ae_title": "X",
            "insecure_identity": True,
            "tls_profile": "bcp195-modified",
            "audit_log": os.path.join(make_directory(self), "audit"),
        }
        for field, value in options.items():
            self.assertEqual([self.WARNING], self.logged(port=11112, **{field: value}), field)


class TLSTests(ServiceTestCase):
    """Which endpoints TLS is spoken on."""

    def setUp(self) -> None:
        super().setUp()
        path = Path(make_directory(self)) / "cert.pem"
        path.write_bytes(trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
        self.certificate = str(path)

    def over_tls(self, *endpoints: str, **options: Any) -> list[tuple[int, bool]]:
        """The ports it listens on, and whether a connection to each begins with TLS."""
        self.make(*endpoints, **options).startService()
        peer = IPv4Address("TCP", "10.1.2.3", 104)
        return [
            (port.number, ISSLTransport.providedBy(port.factory.buildProtocol(peer))) for port in self.reactor.listening
        ]

    def test_port(self) -> None:
        """With a certificate the port speaks TLS, and of the endpoints those that say so."""
        self.assertEqual([(11112, False)], self.over_tls(port=11112))
        self.setUp()
        self.assertEqual([(2762, True)], self.over_tls(port=2762, tls_cert=self.certificate))
        self.setUp()
        self.assertEqual(
            [(2762, True), (11113, False), (11114, True)],
            self.over_tls("tcp:11113", "tls:tcp:11114", port=2762, tls_cert=self.certificate),
        )

    def test_endpoints(self) -> None:
        """One endpoint that speaks it is enough."""
        self.assertEqual(
            [(11113, False), (2762, True)], self.over_tls("tcp:11113", "tls:tcp:2762", tls_cert=self.certificate)
        )

    def refused(self, *endpoints: str, **options: Any) -> str:
        """What is wrong with these endpoints."""
        error = self.assertRaises(ConfigError, self.make, *endpoints, **options)
        self.assertEqual("listen", error.field)
        return str(error)

    def test_no_certificate(self) -> None:
        """An endpoint that should speak TLS is refused without a certificate."""
        for endpoint in ("tls:tcp:2762", "tls:haproxy:tcp:2762"):
            self.assertEqual(f"listen: {endpoint}: it needs --tls-cert", self.refused(endpoint))
        self.assertEqual("listen: tls:tcp:2762: it needs --tls-cert", self.refused("tls:tcp:2762", port=11112))

    def test_header_in_tls(self) -> None:
        """A PROXY header within TLS is refused: the certificate would be that of the proxy. So is either one twice."""
        for endpoint in (
            "haproxy:tls:tcp:2762",
            "tls:haproxy:tls:tcp:2762",
            "tls:tls:tcp:2762",
            "haproxy:haproxy:tcp:2762",
            "tls:haproxy:haproxy:tcp:2762",
        ):
            why = f"listen: {endpoint}: it is tls:haproxy:ENDPOINT, in this order and each once"
            self.assertEqual(why, self.refused(endpoint, "tls:tcp:2763", tls_cert=self.certificate))
        self.assertEqual(
            "listen: haproxy:haproxy:tcp:1: it is tls:haproxy:ENDPOINT, in this order and each once",
            self.refused("haproxy:haproxy:tcp:1"),
        )

    def test_no_endpoint(self) -> None:
        """A certificate for endpoints that all do without TLS is refused: somebody believes that they do not."""
        message = "listen: with --tls-cert one of them must begin with tls:, such as tls:tcp:2762"
        for endpoints in (["tcp:11112"], ["tcp:11112", "tcp6:11113"], ["haproxy:tcp:11112"], ["unix:tls:"]):
            self.assertEqual(message, self.refused(*endpoints, tls_cert=self.certificate))

    def test_inner_endpoint(self) -> None:
        """What is wrong with the endpoint behind tls: is told with the whole of it."""
        for endpoint in ("tls:carrier-pigeon:1", "tls:haproxy:carrier-pigeon:1"):
            self.assertEqual(
                f"listen: {endpoint}: Unknown endpoint type: 'carrier-pigeon'",
                self.refused(endpoint, tls_cert=self.certificate),
            )


class HindranceTests(ServiceTestCase):
    """Why no instance would be taken."""

    CLOSED = "it does not listen"

    def test_life(self) -> None:
        """There is none while it listens, with a storage that works."""
        service = self.make(port=11112)
        told = [service.hindrance]
        service.privilegedStartService()
        told.append(service.hindrance)
        service.startService()
        self.storage.is_ready = False
        told.append(service.hindrance)
        self.storage.is_ready = True
        told.append(service.hindrance)
        service.stopService()
        told.append(service.hindrance)
        service.startService()
        told.append(service.hindrance)
        self.assertEqual([self.CLOSED, "", "the storage does not work", "", "it stops", ""], told)

    def test_stopping(self) -> None:
        """From the beginning of the end none would be taken, though one is still under way."""
        sink = RecordingSink()
        sink.finished = Deferred()
        self.storage = RecordingStorage(sink)
        service = self.make(port=11112)
        service.startService()
        scu = self.associate()
        scu.store("1.2.3", b"data")
        stopped = service.stopService()
        self.assertEqual("it stops", service.hindrance)
        sink.finished.callback(None)
        scu.pump()
        self.successResultOf(stopped)
        self.assertEqual("it stops", service.hindrance)

    def test_later(self) -> None:
        """Nor does it listen as long as an endpoint that takes its time does not."""

        @implementer(IStreamServerEndpoint)
        class Later:
            def __init__(self) -> None:
                self.listening: Deferred[Any] = Deferred()

            def listen(self, protocolFactory: Any) -> "Deferred[Any]":
                return self.listening

        endpoints = [Later(), Later()]
        factory = StorageSCPFactory(Config(), self.storage, self.reactor)
        service = StorageSCPService(factory, [Listening("x", endpoint, True) for endpoint in endpoints])
        service.startService()
        told = [service.hindrance]
        for number, endpoint in enumerate(endpoints):
            port = Port(self.reactor, number, factory)
            port.startListening()
            endpoint.listening.callback(port)
            told.append(service.hindrance)
        self.assertEqual([self.CLOSED, self.CLOSED, ""], told)
        self.successResultOf(service.stopService())

    def test_failed_start(self) -> None:
        """Nor is one taken where it could not start."""
        service = self.make("tcp:104", port=11112)
        self.assertRaises(CannotStart, service.startService)
        self.assertEqual(self.CLOSED, service.hindrance)


class Read:
    """Something read from a file; it counts how often, and fails where it has an `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.times = 0

    def reload(self) -> None:
        self.times += 1
        if self.error:
            raise self.error


class ReloadTests(ServiceTestCase):
    def reload(self, *read: Read) -> list[tuple[str, str]]:
        """What is logged when these are read again."""
        factory = StorageSCPFactory(Config(), self.storage, self.reactor)
        service = StorageSCPService(factory, [], read)
        self.assertTrue(service.reloads)
        with capturedLogs() as events:
            service.reload()
        return [(event["log_level"].name, formatEvent(event)) for event in events]

    def test_all(self) -> None:
        """Everything is read again, each time it is asked for."""
        read = [Read(), Read(), Read()]
        for times in (1, 2):
            self.assertEqual([("info", "All files were read again")], self.reload(*read))
            self.assertEqual([times] * 3, [each.times for each in read])

    def test_failure(self) -> None:
        """What cannot be read is one line each; what comes after it is read all the same."""
        read = [Read(), Read(CannotStart("allow, line 3: no")), Read(), Read(CannotStart("{x}: no")), Read()]
        self.assertEqual(
            [
                ("error", "allow, line 3: no: what was read before stays"),
                ("error", "{x}: no: what was read before stays"),
            ],
            self.reload(*read),
        )
        self.assertEqual([1] * 5, [each.times for each in read])

    def test_mistake(self) -> None:
        """One of somebody else's may fail in any way: that is logged, and what comes after it is read all the same."""
        for error in (ZeroDivisionError("a"), KeyError("b"), OSError(5, "c"), LookupError()):
            read = [Read(), Read(error), Read(CannotStart("allow: no")), Read()]
            logged = self.reload(*read)
            self.assertEqual(["critical", "error"], [level for level, _ in logged])
            self.assertTrue(logged[0][1].endswith("has failed to read again"), logged[0][1])
            self.assertEqual(("error", "allow: no: what was read before stays"), logged[1])
            self.assertEqual([1] * 4, [each.times for each in read])
            self.assertEqual([error], [failure.value for failure in self.flushLoggedErrors()])

    def test_what(self) -> None:
        """What an option read from a file is read again; without one there is nothing to read."""
        directory = Path(make_directory(self))
        contents = {"allow": b"CT1\n", "users": b"anna:no-passcode\n", "key.pem": PUBLIC_KEY.encode(), "audit": b""}
        contents["cert.pem"] = trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        options = {
            "allow_file": "allow",
            "tls_cert": "cert.pem",
            "users": "users",
            "jwt_key": "key.pem",
            "audit_log": "audit",
        }
        for field, name in options.items():
            path = directory / name
            service = self.make(port=11112, **{field: str(path)})
            self.assertEqual((True, []), (service.reloads, self.reloaded(service)), field)
            path.unlink()
            expected = (
                [] if field == "audit_log" else [f"{path}: No such file or directory: what was read before stays"]
            )
            self.assertEqual(expected, self.reloaded(service), field)

    def reloaded(self, service: StorageSCPService) -> list[str]:
        """The errors of reading again what this one has read."""
        with capturedLogs() as events:
            service.reload()
        return [formatEvent(event) for event in events if event["log_level"].name == "error"]

    def test_nothing(self) -> None:
        """What the command line alone says cannot be read again."""
        for options in ({}, {"allow": ["CT1"]}, {"auth": ["anonymous"]}, {"require_called_aet": True}):
            self.assertFalse(self.make(port=11112, **options).reloads, options)


class StorageTests(ServiceTestCase):
    def start(self, **options: Any) -> None:
        service = service_for(Config(port=11112, **options), reactor=self.reactor)
        service.startService()
        self.addCleanup(lambda: self.successResultOf(service.stopService()))

    def test_output_directory(self) -> None:
        """Without a storage of the embedder's, the output directory is used."""
        directory = make_directory(self)
        self.start(output_directory=directory)
        self.assertEqual([".incoming"], os.listdir(directory))

    def test_ignore(self) -> None:
        """--ignore does not look at the output directory: it need not even exist."""
        self.start(output_directory=os.path.join(make_directory(self), "missing"), ignore=True)
        scu = self.associate()
        scu.store("1.2.3", b"data")
        scu.release()
        self.assertEqual([0], [response.status for response in scu.responses if isinstance(response, CStoreRSP)])

    def test_storage_of_the_embedder(self) -> None:
        """Nor does a storage of the embedder's."""
        self.make(port=11112, output_directory="/missing").startService()
        self.assertEqual(["start"], self.storage.calls)


class CannotStartTests(ServiceTestCase):
    def test_port_taken(self) -> None:
        """A port that is taken is told with its real cause, and leaves nothing listening and nothing started."""
        service = self.make("tcp:104", "tcp:11113", port=11112)
        error = self.assertRaises(CannotStart, service.startService)
        self.assertEqual("tcp:104: Couldn't listen on any:104: [Errno 98] Address already in use.", str(error))
        self.assertEqual([[], [], False], [self.reactor.open_ports, service.addresses, bool(service.running)])
        self.assertEqual(["start", "stop"], self.storage.calls)

    def test_another_try(self) -> None:
        """After a failure to start it can be started when the cause is gone."""
        service = self.make("tcp:104", port=11112)
        self.assertRaises(CannotStart, service.startService)
        self.reactor.taken.clear()
        service.startService()
        self.assertEqual([11112, 104], self.reactor.open_ports)

    def test_neighbours_unharmed(self) -> None:
        """A parent hears of the failure; what was started before it runs on."""
        parent = MultiService()
        neighbour = Service()
        neighbour.setServiceParent(parent)
        self.make(port=104).setServiceParent(parent)
        self.assertRaises(CannotStart, parent.startService)
        self.assertEqual([1, []], [neighbour.running, self.reactor.open_ports])

    def test_storage(self) -> None:
        """A storage that cannot start leaves nothing listening."""
        self.storage.start_error = CannotStart("output directory /x: Input/output error")
        error = self.assertRaises(CannotStart, self.make(port=11112).startService)
        self.assertTrue(str(error).endswith("output directory /x: Input/output error"), str(error))
        self.assertEqual([], self.reactor.open_ports)

    def test_output_directory(self) -> None:
        """A directory that cannot be used is told before anything is started."""
        directory = make_directory(self)
        missing, file = os.path.join(directory, "missing"), os.path.join(directory, "file")
        with open(file, "wb"):
            pass
        for path, why in ((missing, "does not exist"), (file, "is not a directory")):
            config = Config(port=11112, output_directory=path)
            error = self.assertRaises(CannotStart, service_for, config, reactor=self.reactor)
            self.assertEqual(f"output directory {path}: {why}", str(error))

    def test_no_output_directory(self) -> None:
        """An empty name, as an unset variable of a shell makes it, is not the current directory."""
        with self.assertRaises((CannotStart, ConfigError)):
            service_for(Config(port=11112, output_directory=""), reactor=self.reactor)

    def test_endpoints(self) -> None:
        """An endpoint that cannot be understood, and none at all, is the caller's error."""
        error = self.assertRaises(ConfigError, self.make, "carrier-pigeon:1")
        self.assertEqual("listen: carrier-pigeon:1: Unknown endpoint type: 'carrier-pigeon'", str(error))
        self.assertEqual("listen", error.field)
        error = self.assertRaises(ConfigError, self.make)
        self.assertEqual("listen: neither a port nor an endpoint to listen on is given", str(error))

    def test_key_that_is_missing(self) -> None:
        """TLS without its files, or without its library, is told before anything is started."""
        endpoint = "ssl:2762:privateKey=/missing.pem:certKey=/missing.pem"
        error = self.assertRaises(CannotStart, self.make, endpoint)
        self.assertTrue(str(error).startswith(f"{endpoint}: "), str(error))


class StopTests(ServiceTestCase):
    def test_idle(self) -> None:
        """Without associations it stops at once, and the storage after it."""
        service = self.make("tcp:11113", port=11112)
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual([[], [], True], [self.reactor.open_ports, service.addresses, service.in_order])
        self.assertEqual(["start", "stop"], self.storage.calls)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_never_started(self) -> None:
        """Stopping what was not started is no error."""
        self.successResultOf(self.make(port=11112).stopService())
        self.assertEqual([], self.storage.calls)

    def test_open_association(self) -> None:
        """An association is aborted, its peer told, and waited for until its connection is gone."""
        service = self.make(port=11112)
        service.startService()
        scu = self.associate()
        stopped = service.stopService()
        self.assertEqual([], self.reactor.open_ports)
        self.assertNoResult(stopped)
        scu.pump()
        self.successResultOf(stopped)
        self.assertEqual(("AAbort(source=0, reason=0)", True), (repr(scu.ended), service.in_order))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_instance_cut_off(self) -> None:
        """An instance on its way has the grace to come to its end, and is cut off then."""
        service = self.make(port=11112, grace=3)
        service.startService()
        scu = self.associate()
        scu.send(3, WITHOUT_ITS_DATA_SET)
        stopped = service.stopService()
        self.assertEqual([], self.reactor.open_ports)
        self.reactor.advance(3)
        scu.pump()
        self.successResultOf(stopped)
        self.assertEqual((False, [["abort"]]), (service.in_order, [sink.ends for sink in self.storage.sinks]))

    def test_port_that_does_not_close(self) -> None:
        """A port that cannot be closed is logged, and the associations are ended all the same."""
        service = self.make(port=11112)
        service.startService()
        scu = self.associate()
        self.patch(Port, "stopListening", lambda port: fail(ZeroDivisionError()))
        service.stopService()
        scu.pump()
        self.assertEqual("AAbort(source=0, reason=0)", repr(scu.ended))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_storage_is_waited_for(self) -> None:
        """It has stopped when the storage has."""
        self.storage.stopped = Deferred()
        service = self.make(port=11112)
        service.startService()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        self.storage.stopped.callback(None)
        self.successResultOf(stopped)

    def test_started_again(self) -> None:
        """What was stopped can be started again, as often as one likes."""
        service = self.make(port=11112)
        for _ in range(3):
            service.startService()
            self.assertEqual([11112], self.reactor.open_ports)
            self.associate().release()
            self.successResultOf(service.stopService())
        self.assertEqual(["start", "stop"] * 3, self.storage.calls)


class ProgramReactor(Reactor):
    """Runs `while_running`, a few functions, and then ends as a reactor does; a stop is only counted."""

    def __init__(self, *while_running: Callable[[], object]) -> None:
        super().__init__()
        self._while_running = while_running
        self.at_end: list[Callable[[], object]] = []
        self.stops = 0

    def run(self, installSignalHandlers: bool = True) -> None:
        self.running = True
        for function, arguments, keywords in self.whenRunningHooks:
            function(*arguments, **keywords)
        for each in self._while_running:
            each()
        for function, arguments, keywords in self.triggers.get("before", {}).get("shutdown", []):
            function(*arguments, **keywords)
        for each in self.at_end:
            each()

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def stop(self) -> None:
        if not self.running:
            raise ReactorNotRunning
        self.running = False
        self.stops += 1


def unhandled(number: int, frame: object) -> None:
    raise AssertionError(f"nobody handles signal {number}")


class ProgramTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.signal(number, unhandled))


class TakeOverTests(ProgramTestCase):
    def test_clock(self) -> None:
        """Timers follow a clock that nobody sets."""
        reactor: Any = ProgramReactor()
        take_over(reactor)
        self.assertIs(time.monotonic, reactor.seconds)

    def codes(self, *numbers: int) -> tuple[int, list[int]]:
        """How often these signals stop the reactor, and with which codes they end the process."""
        codes: list[int] = []
        self.patch(os, "_exit", codes.append)
        reactor = ProgramReactor(*(partial(signal.raise_signal, number) for number in numbers))
        take_over(reactor)
        reactor.run()
        return reactor.stops, codes

    def test_signals(self) -> None:
        """SIGINT and SIGTERM stop the reactor once it runs."""
        self.assertEqual([(1, [])] * 2, [self.codes(number) for number in (signal.SIGINT, signal.SIGTERM)])

    def test_second_signal(self) -> None:
        """The second signal ends the process at once, whichever the two are."""
        for numbers in ((signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)):
            self.assertEqual((1, [1]), self.codes(*numbers))

    def test_stopped_already(self) -> None:
        """A signal that comes while the reactor stops for another reason changes nothing."""
        reactor = ProgramReactor()
        reactor._while_running = (reactor.stop, partial(signal.raise_signal, signal.SIGTERM))
        take_over(reactor)
        reactor.run()
        self.assertEqual(1, reactor.stops)


class HandlersSeen(io.StringIO):
    """Knows who handled SIGTERM whenever it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: list[Any] = []

    def write(self, text: str) -> int:
        self.handlers.append(signal.getsignal(signal.SIGTERM))
        return super().write(text)


class RunTests(ProgramTestCase):
    """The command, on a reactor in memory."""

    def run_on(self, reactor: ProgramReactor, *line: str, stdout: io.StringIO | None = None) -> int:
        warnings = SimpleNamespace(showwarning=None)
        beginner = LogBeginner(LogPublisher(), io.StringIO(), sys, warnings)  # the process keeps its own
        self.patch(main, "globalLogBeginner", beginner)
        self.patch(sys, "stdout", stdout or io.StringIO())
        use_reactor(self, reactor)
        return main.run([*line, "--ignore"])

    def test_in_order(self) -> None:
        """It listens while the reactor runs, and not after it; that is exit code 0."""
        ports: list[list[int]] = []
        reactor = ProgramReactor(lambda: ports.append(reactor.open_ports))
        self.assertEqual(0, self.run_on(reactor, "11112"))
        self.assertEqual([[11112], []], [*ports, reactor.open_ports])

    def test_cut_off(self) -> None:
        """An instance that is cut off by the end is exit code 1."""

        def begin() -> None:
            scu = SCU(reactor.listening[0].factory, reactor)
            scu.send(3, WITHOUT_ITS_DATA_SET)
            reactor.at_end += [partial(reactor.advance, 0), scu.pump]

        reactor = ProgramReactor(begin)
        self.assertEqual(1, self.run_on(reactor, "11112", "--grace=0"))

    def test_cannot_start(self) -> None:
        """What stands in the way ends the reactor: one line, exit code 1, and nothing is left open or announced."""
        stdout = io.StringIO()
        self.patch(sys, "stderr", io.StringIO())
        reactor = ProgramReactor()
        self.assertEqual(1, self.run_on(reactor, "--listen=tcp:0", "--listen=tcp:104", stdout=stdout))
        self.assertEqual(
            ("", "storescp: error: tcp:104: Couldn't listen on any:104: [Errno 98] Address already in use.\n", []),
            (stdout.getvalue(), cast(io.StringIO, sys.stderr).getvalue(), reactor.open_ports),
        )

    def test_announcement(self) -> None:
        """A port that the system chose is announced; one that the user chose is not."""
        announced = {
            **{"0": 0, "11112": None, "--listen=tcp:0": 0, "--listen=tcp6:0": 0, "--listen=tcp:11112": None},
            **{"--listen=haproxy:tcp:0": 0, "--listen=haproxy:tcp:11112": None},
            **{"--listen=tcp:0:interface=127.0.0.1": 0},
        }
        for word, port in announced.items():
            stdout = io.StringIO()
            self.run_on(ProgramReactor(), word, stdout=stdout)
            expected = "" if port is None else f"storescp: listening on port {port}\n"
            self.assertEqual(expected, stdout.getvalue(), word)

    def test_announcement_beside_a_socket(self) -> None:
        """An endpoint that has no port does not disturb the announcement of one that has."""
        stdout = io.StringIO()
        self.run_on(ProgramReactor(), "--listen=tcp:0", "--listen=unix:socket", stdout=stdout)
        self.assertEqual("storescp: listening on port 0\n", stdout.getvalue())

    def test_announcement_comes_last(self) -> None:
        """Who reads the port may end the program at once: signals are handled by then."""
        stdout = HandlersSeen()
        self.run_on(ProgramReactor(), "0", stdout=stdout)
        self.assertNotIn(unhandled, stdout.handlers)
