"""A request to a file name: the one place where text from a peer becomes part of a path."""

import re
from hashlib import sha256

from storescp.errors import Status, StoreFailure
from storescp.uids import LONGEST_UID, prefix_of

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
LONGEST_USABLE = 128  # what devices send instead is a little longer, or has letters; more is no identifier


def file_name(sop_class_uid: str, sop_instance_uid: str) -> str:
    """``CT.<UID>``: one path component, no leading dot, and never the same for two UIDs of one SOP Class.

    A UID that is not one by PS3.5 9.1 is replaced by a digest. Raises `StoreFailure` for one that is
    empty, longer than anybody could mean, or not printable ASCII.
    """
    prefix = prefix_of(sop_class_uid)
    if len(sop_instance_uid) <= LONGEST_UID and _UID.fullmatch(sop_instance_uid):
        return f"{prefix}.{sop_instance_uid}"
    if not 1 <= len(sop_instance_uid) <= LONGEST_USABLE or not _is_printable_ascii(sop_instance_uid):
        raise StoreFailure(
            f"a SOP Instance UID of {len(sop_instance_uid)} characters is not usable", Status.CANNOT_UNDERSTAND
        )
    return f"{prefix}.X-{sha256(sop_instance_uid.encode('ascii')).hexdigest()[:40]}"


def duplicate_name(name: str, digest: str) -> str:
    """The name beside `name` for another content, of which `digest` is eight hexadecimal digits or more."""
    return f"{name}.dup-{digest[:8]}"


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()
