# mypy: allow-untyped-calls
"""Malformed input: the standard's answer, one line in the log, nothing on the disk, and the next association works."""

import io
import os
from typing import Any, NamedTuple

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.program.lines import TextObserver
from storescp.program.logs import AssociationLog
from storescp.server.factory import StorageSCPFactory
from storescp.storage.directory import DirectoryStorage
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from tests.program import make_directory
from tests.server import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    DATA,
    LAST_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    STORE_COMMAND,
    STORED,
    Peer,
    p_data,
    pdv,
)
from tests.ul import wire

CT = b"1.2.840.10008.5.1.4.1.1.2"

# (0008,0018) UI 1.2.3 in Explicit VR Little Endian, and a Patient's Name.
DATA_SET = wire("0800 1800", b"UI", "0600", b"1.2.3\0", "1000 1000", b"PN", "0400", b"Doe^")
END = p_data(pdv(3, LAST_DATA, DATA_SET))
STORE = STORE_COMMAND + END
HALF = STORE_COMMAND + p_data(pdv(3, DATA, DATA_SET))

# What comes after each of them: an association that stores another instance.
NEXT = ASSOCIATE_RQ + STORE.replace(b"1.2.3\0", b"1.2.4\0") + RELEASE_RQ
NEXT_HEARD = ASSOCIATE_AC + STORED.replace(b"1.2.3\0", b"1.2.4\0") + RELEASE_RP
NEXT_STORED = {"CT.1.2.4": DATA_SET.replace(b"1.2.3\0", b"1.2.4\0")}


class Outcome(NamedTuple):
    heard: bytes
    printed: list[str]
    stored: dict[str, bytes]  # data sets, by the names of their files


def stored(directory: str) -> dict[str, bytes]:
    """The data sets of all files in this directory, which has nothing beside them."""
    assert os.listdir(f"{directory}/.incoming") == ["lock"]
    contents = {}
    for name in os.listdir(directory):
        if name != ".incoming":
            with open(f"{directory}/{name}", "rb") as file:
                content = file.read()
            start = 144 + int.from_bytes(content[140:144], "little")  # File Meta Information Group Length
            contents[name] = content[start:]
    return contents


class MalformedTestCase(SynchronousTestCase):
    """Each case has a server of its own: a directory, a log as by default, and all between them."""

    def meet(self, session: bytes, **options: Any) -> Outcome:
        """What a peer meets that sends this and then goes."""
        clock, stream, directory = Clock(), io.StringIO(), make_directory(self)
        storage = DirectoryStorage(directory, AtOnce(), Rules(durability="none"))
        factory = StorageSCPFactory(Config(**options), storage, clock, [AssociationLog("normal")])
        printer = TextObserver(stream, "normal")
        globalLogPublisher.addObserver(printer)
        factory.doStart()
        try:
            peer = Peer(factory)
            heard = peer.write(session)
            peer.disconnect()
            outcome = Outcome(heard, stream.getvalue().splitlines(), stored(directory))
            peer = Peer(factory)
            self.assertEqual(NEXT_HEARD, peer.write(NEXT))
            peer.disconnect()
            self.assertEqual((outcome.stored | NEXT_STORED, []), (stored(directory), clock.getDelayedCalls()))
            self.assertEqual(outcome.printed, stream.getvalue().splitlines())
        finally:
            factory.doStop()
            globalLogPublisher.removeObserver(printer)
        self.assertEqual([], self.flushLoggedErrors())
        return outcome

    def check_unassociated(self, data: bytes, cause: str, **options: Any) -> None:
        """This is no A-ASSOCIATE-RQ: AA-1."""
        line = f"W: Connection from 192.168.1.1:54321 ended without an association: {cause}"
        self.assertEqual(Outcome(ABORT, [line], {}), self.meet(data, **options), data[:100])

    def check_stored(
        self,
        request: bytes = ASSOCIATE_RQ,
        answer: bytes = ASSOCIATE_AC,
        store: bytes = STORE,
        data_set: bytes = DATA_SET,
        **options: Any,
    ) -> None:
        """This association is as good as any: its instance is stored as it was sent, and nothing is said."""
        outcome = self.meet(request + store + RELEASE_RQ, **options)
        expected = Outcome(answer + STORED + RELEASE_RP, [], {"CT.1.2.3": data_set})
        self.assertEqual(expected, outcome, (request + store)[:1000])

    def check(self, pdus: bytes, heard: bytes, *printed: str, **options: Any) -> None:
        """What is heard and printed where these PDUs come in an association; nothing is stored."""
        outcome = self.meet(ASSOCIATE_RQ + pdus, **options)
        self.assertEqual(Outcome(ASSOCIATE_AC + heard, list(printed), {}), outcome, pdus[:1000])
