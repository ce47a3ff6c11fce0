"""Hypothesis strategies for the PDUs, their items and the command sets, and the settings of all properties."""

from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from storescp.dimse import commands as dimse
from storescp.ul import items, pdu

# Reproducible, and free of the clock and the disk of the machine it runs on.
PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)

uint8 = st.integers(0, 0xFF)
uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)
fields = st.binary(max_size=40)


def latin_1(max_size: int) -> SearchStrategy[str]:
    """Any text that a name field can hold."""
    return st.text(st.characters(max_codepoint=0xFF), max_size=max_size)


# Padding is not part of a UID; what else a device may put into one is kept.
uids = st.one_of(
    st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){1,9}", fullmatch=True),
    latin_1(64).map(lambda value: value.rstrip("\0 ")),
)


presentation_context_ids = st.integers(0, 127).map(lambda number: 2 * number + 1)
presentation_contexts_rq = st.builds(
    items.PresentationContextRQ, presentation_context_ids, uids, st.lists(uids, max_size=3).map(tuple)
)
presentation_contexts_ac = st.one_of(
    st.builds(items.PresentationContextAC, presentation_context_ids, st.just(0), uids),
    # What a rejected context says of a transfer syntax is not significant and not kept.
    st.builds(items.PresentationContextAC, presentation_context_ids, st.integers(1, 255), st.just("")),
)

_repeatable_items: SearchStrategy[Any] = st.one_of(
    st.builds(items.RoleSelection, uids, uint8, uint8),
    st.builds(items.SOPClassExtendedNegotiation, uids, fields),
    st.builds(items.SOPClassCommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)),
)
_single_items: SearchStrategy[Any] = st.one_of(
    st.builds(items.MaximumLength, uint32),
    st.builds(items.ImplementationClassUID, uids),
    st.builds(items.AsynchronousOperationsWindow, uint16, uint16),
    st.builds(items.ImplementationVersionName, latin_1(16)),
    st.builds(items.UserIdentityRQ, uint8, uint8, fields, fields),
    st.builds(items.UserIdentityAC, fields),
)
user_items = st.one_of(_repeatable_items, _single_items)
user_information = (
    st.tuples(st.lists(_repeatable_items, max_size=4), st.lists(_single_items, max_size=4, unique_by=type))
    .flatmap(lambda both: st.permutations(both[0] + both[1]))
    .map(lambda chosen: items.UserInformation(tuple(chosen)))
)
associate_items: SearchStrategy[Any] = st.one_of(presentation_contexts_rq, presentation_contexts_ac, user_information)


def _associate(kind: Any, contexts: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.builds(
        kind,
        protocol_version=uint16,
        called_ae_title=latin_1(16),
        calling_ae_title=latin_1(16),
        reserved=st.binary(min_size=32, max_size=32),
        application_context_name=uids,
        presentation_contexts=st.lists(contexts, max_size=3, unique_by=lambda each: each.context_id).map(tuple),
        user_information=user_information,
    )


# All but P-DATA-TF, of which no object is made.
pdus: SearchStrategy[Any] = st.one_of(
    _associate(pdu.AAssociateRQ, presentation_contexts_rq),
    _associate(pdu.AAssociateAC, presentation_contexts_ac),
    st.builds(pdu.AAssociateRJ, uint8, uint8, uint8),
    st.builds(pdu.AReleaseRQ),
    st.builds(pdu.AReleaseRP),
    st.builds(pdu.AAbort, uint8, uint8),
)
pdv_lists = st.lists(st.tuples(uint8, uint8, fields), min_size=1, max_size=4)


_aes = latin_1(16).map(lambda value: value.rstrip("\0 "))
_uids_or_none = st.none() | uids.filter(bool)  # an optional element without a value is absent

c_echo_rqs = st.builds(dimse.CEchoRQ, affected_sop_class_uid=uids, message_id=uint16, command_data_set_type=uint16)
c_echo_rsps = st.builds(
    dimse.CEchoRSP,
    affected_sop_class_uid=_uids_or_none,
    message_id_being_responded_to=uint16,
    command_data_set_type=uint16,
    status=uint16,
)
c_store_rqs = st.builds(
    dimse.CStoreRQ,
    affected_sop_class_uid=uids,
    message_id=uint16,
    priority=uint16,
    command_data_set_type=uint16,
    affected_sop_instance_uid=uids,
    move_originator_ae_title=st.none() | _aes.filter(bool),
    move_originator_message_id=st.none() | uint16,
)
c_store_rsps = st.builds(
    dimse.CStoreRSP,
    affected_sop_class_uid=_uids_or_none,
    message_id_being_responded_to=uint16,
    command_data_set_type=uint16,
    status=uint16,
    affected_sop_instance_uid=_uids_or_none,
)
other_rqs = st.builds(dimse.OtherRQ, command_field=uint16, message_id=st.none() | uint16, command_data_set_type=uint16)
other_rsps = st.builds(
    dimse.OtherRSP,
    command_field=uint16,
    message_id_being_responded_to=uint16,
    command_data_set_type=uint16,
    status=uint16,
)
commands: SearchStrategy[Any] = st.one_of(c_echo_rqs, c_echo_rsps, c_store_rqs, c_store_rsps, other_rqs, other_rsps)


@st.composite
def damaged(draw: st.DrawFn, encoded: SearchStrategy[bytes]) -> bytes:
    """Encoded bytes of which a few are changed and some cut off or added at the end."""
    data = bytearray(draw(encoded))
    for position, value in draw(st.lists(st.tuples(st.integers(0, max(len(data) - 1, 0)), uint8), max_size=4)):
        data[position : position + 1] = bytes([value])
    end = draw(st.just(len(data)) | st.integers(0, len(data)))
    return bytes(data[:end]) + draw(st.binary(max_size=4))


@st.composite
def chunked(draw: st.DrawFn, streams: SearchStrategy[bytes]) -> list[bytes]:
    """A stream in any split, empty chunks included."""
    stream = draw(streams)
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8))), len(stream)]
    return [stream[start:end] for start, end in pairwise(cuts)]
