"""What the tests of the storages share: requests, and fragments."""

from storescp.interfaces import Association, StoreRequest

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"


def request(
    uid: str = "1.2.3", *, sop_class: str = CT, syntax: str = EXPLICIT_LE, calling: str = "MOD"
) -> StoreRequest:
    return StoreRequest(
        association=Association(peer="10.0.0.1:104", calling_ae_title=calling, called_ae_title="STORESCP"),
        context_id=1,
        transfer_syntax=syntax,
        message_id=7,
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
    )
