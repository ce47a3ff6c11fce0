"""An association requestor in memory, to test an SCP, a storage or an observer without sockets, clocks or threads.

::

    clock = Clock()
    factory = StorageSCPFactory(Config(), storage, clock)
    factory.doStart()
    scu = SCU(factory, clock)
    assert scu.store("1.2.3", b"...").status == 0x0000
"""

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.testing import StringTransport

from storescp.config import Config
from storescp.dimse.commands import (
    DATA_SET,
    NO_DATA_SET,
    CEchoRQ,
    CEchoRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    Elements,
    OtherRSP,
    read_us,
)
from storescp.dimse.messages import MessageReader, encode_message
from storescp.server.factory import StorageSCPFactory
from storescp.server.protocol import Limits, ServiceUser, ULProtocol
from storescp.server.turns import Turns
from storescp.uids import APPLICATION_CONTEXT, EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from storescp.ul.items import MaximumLength, PresentationContextRQ, UserIdentityRQ, UserInformation, UserItem
from storescp.ul.machine import PAbort
from storescp.ul.negotiation import maximum_length
from storescp.ul.pdu import AAbort, AAssociateAC, AAssociateRJ, AAssociateRQ, PDataTF

__all__ = [
    "CONTEXTS",
    "CT_IMAGE_STORAGE",
    "SCU",
    "AAbort",
    "PresentationContextRQ",
    "UserIdentityRQ",
    "associate_rq",
]

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
CONTEXTS = (
    PresentationContextRQ(1, VERIFICATION, (IMPLICIT_LE,)),
    PresentationContextRQ(3, CT_IMAGE_STORAGE, (EXPLICIT_LE, IMPLICIT_LE)),
)
_CONFIG = Config()

Response = CEchoRSP | CStoreRSP | OtherRSP
_RESPONSES: dict[int, type[Response]] = {0x8030: CEchoRSP, 0x8001: CStoreRSP}


def associate_rq(
    contexts: Iterable[PresentationContextRQ] = CONTEXTS,
    user_items: Iterable[UserItem] = (MaximumLength(16384),),
    called: str = "STORESCP",
    calling: str = "TESTSCU",
) -> AAssociateRQ:
    """An A-ASSOCIATE-RQ as a friendly modality sends it."""
    return AAssociateRQ(
        protocol_version=1,
        called_ae_title=called,
        calling_ae_title=calling,
        reserved=bytes(32),
        application_context_name=APPLICATION_CONTEXT,
        presentation_contexts=tuple(contexts),
        user_information=UserInformation(tuple(user_items)),
    )


def _store_rq(sop_instance_uid: str, sop_class_uid: str, message_id: int, data_set_type: int = DATA_SET) -> CStoreRQ:
    return CStoreRQ(
        affected_sop_class_uid=sop_class_uid,
        message_id=message_id,
        affected_sop_instance_uid=sop_instance_uid,
        command_data_set_type=data_set_type,
    )


class SCU(ServiceUser):
    """One association with the SCP that `factory` makes, joined to it by two `StringTransport`.

    What comes back is kept: `answer` to the request, `responses` in their order, `ended` by an A-ABORT or the
    loss of the connection, `released`. Bytes move when a method is called; what the SCP sends at another time, as
    when a Deferred of a storage has fired, comes with `pump`.
    """

    def __init__(self, factory: StorageSCPFactory, clock: IReactorTime, request: AAssociateRQ | None = None) -> None:
        self.answer: AAssociateAC | AAssociateRJ | None = None
        self.responses: list[Response] = []
        self.ended: AAbort | PAbort | None = None
        self.released = False
        self._reader = MessageReader(self, _CONFIG.max_command_set)
        self._maximum_length = 0
        self._context_id = 0  # of the data set that is sent in fragments
        self.transport = StringTransport()
        self.scp_transport = StringTransport()
        self.protocol = ULProtocol(self, clock, Limits.from_config(_CONFIG), Turns(clock), request or associate_rq())
        self.scp = factory.buildProtocol(self.scp_transport.getPeer())
        self._connected = True
        self.scp.makeConnection(self.scp_transport)  # type: ignore[no-untyped-call]
        self.protocol.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        self.pump()

    @property
    def accepted(self) -> bool:
        """Whether the request was."""
        return isinstance(self.answer, AAssociateAC)

    @property
    def statuses(self) -> list[int]:
        """Of the responses so far: fewer than the requests that were sent while some are not answered."""
        return [int(response.status) for response in self.responses]

    def pump(self) -> None:
        """Carry bytes both ways until there are none, or the receiver has paused; then carry a close."""
        moved = True
        while moved and self._connected:
            moved = self._carry(self.transport, self.scp_transport, self.scp)
            moved = self._carry(self.scp_transport, self.transport, self.protocol) or moved
            if not moved and (self.transport.disconnecting or self.scp_transport.disconnecting):
                self.disconnect()

    def _carry(self, source: StringTransport, target: StringTransport, receiver: ULProtocol) -> bool:
        data = source.value()
        if not data or target.producerState != "producing":
            return False
        source.clear()
        receiver.dataReceived(data)
        return True

    def disconnect(self) -> None:
        """Lose the connection, on both sides."""
        if self._connected:
            self._connected = False
            self.protocol.connectionLost()
            self.scp.connectionLost()

    def write(self, data: bytes) -> None:
        """Send bytes of any kind to the SCP."""
        self.protocol.send_data(data)
        self.pump()

    def send(self, context_id: int, command: Command, data_set: bytes | None = None) -> None:
        """Send a message. Its response, if there is one yet, is in `responses`."""
        self.protocol.data_request(encode_message(context_id, command.encode(), data_set, self._maximum_length))
        self.pump()

    def echo(self, message_id: int = 1) -> Response | None:
        """Send a C-ECHO-RQ on context 1. The response, or None while there is none."""
        return self._request(1, CEchoRQ(affected_sop_class_uid=VERIFICATION, message_id=message_id))

    def store(
        self,
        sop_instance_uid: str,
        data_set: bytes | None,
        sop_class_uid: str = CT_IMAGE_STORAGE,
        context_id: int = 3,
        message_id: int = 1,
    ) -> CStoreRSP | None:
        """Send a C-STORE-RQ and its data set. The response, or None while there is none."""
        data_set_type = NO_DATA_SET if data_set is None else DATA_SET
        command = _store_rq(sop_instance_uid, sop_class_uid, message_id, data_set_type)
        response = self._request(context_id, command, data_set)
        assert response is None or isinstance(response, CStoreRSP)
        return response

    def begin_store(
        self, sop_instance_uid: str, sop_class_uid: str = CT_IMAGE_STORAGE, context_id: int = 3, message_id: int = 1
    ) -> None:
        """Send a C-STORE-RQ alone. Its data set is what `send_fragment` sends."""
        self._context_id = context_id
        self.send(context_id, _store_rq(sop_instance_uid, sop_class_uid, message_id))

    def send_fragment(self, fragment: bytes, *, last: bool = False) -> None:
        """Send bytes of the data set that `begin_store` has begun, in one PDV; with the `last` ones it is complete."""
        self.write(PDataTF.encode([(self._context_id, PDataTF.LAST if last else 0, fragment)]))

    def _request(self, context_id: int, command: Command, data_set: bytes | None = None) -> Response | None:
        before = len(self.responses)
        self.send(context_id, command, data_set)
        return self.responses[before] if len(self.responses) > before else None

    def release(self) -> None:
        """End the association in order."""
        self.protocol.release_request()
        self.pump()

    def abort(self) -> None:
        """Send an A-ABORT."""
        self.protocol.abort("wanted")
        self.pump()

    # What the service provider of this side issues.

    def associate_confirmed(self, answer: AAssociateAC | AAssociateRJ) -> None:
        self.answer = answer
        if isinstance(answer, AAssociateAC):
            self._maximum_length = maximum_length(answer.user_information)

    def data_indicated(self, body: memoryview) -> memoryview | None:
        return self._reader.read(body)

    def command_received(self, context_id: int, elements: Elements, has_data_set: bool) -> None:
        kind = _RESPONSES.get(read_us(elements, 0x0100), OtherRSP)
        self.responses.append(kind.decode(elements))

    def fragment_received(self, fragment: memoryview, last: bool) -> None:
        """No response of ours has a data set."""

    def release_confirmed(self) -> None:
        self.released = True

    def aborted(self, abort: AAbort | PAbort, cause: str) -> None:
        self.ended = abort
