"""What a peer, a caller or a disk can do wrong; each error knows the code it is answered with."""

import errno
from enum import IntEnum
from typing import TypeVar

_C = TypeVar("_C", bound="Cause")


class AbortReason(IntEnum):
    """Why the service provider aborts: Reason/Diag. of an A-ABORT, PS3.8 Table 9-26."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


class Status(IntEnum):
    """Status (0000,0900) of the responses we send: PS3.7 Annex C, PS3.4 Table B.2-1."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    UNRECOGNIZED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


STATUS_WORDS: dict[int, str] = {
    Status.SUCCESS: "Success",
    Status.PROCESSING_FAILURE: "Processing Failure",
    Status.DUPLICATE_SOP_INSTANCE: "Duplicate SOP Instance",
    Status.SOP_CLASS_NOT_SUPPORTED: "SOP Class Not Supported",
    Status.UNRECOGNIZED_OPERATION: "Unrecognized Operation",
    Status.MISTYPED_ARGUMENT: "Mistyped Argument",
    Status.OUT_OF_RESOURCES: "Out of Resources",
    Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS: "Data Set Does Not Match SOP Class",
    Status.CANNOT_UNDERSTAND: "Cannot Understand",
}


class Cause(str):
    """A cause, in words, and its `kind`, by which it is counted: one of a few, and never text of a peer."""

    kind: str

    def __new__(cls: type[_C], kind: str, cause: str) -> _C:
        self = super().__new__(cls, cause)
        self.kind = kind
        return self

    def __reduce__(self: _C) -> tuple[type[_C], tuple[str, str]]:  # so that it can be copied and pickled
        return type(self), (self.kind, str(self))


class Excess(Cause):
    """A cause that is a limit of ours: `limit`, its kind, is the attribute of `Config` that sets it."""

    @property
    def limit(self) -> str:
        return self.kind


def kind_of(cause: str) -> str:
    """The kind of a cause; of one without, as all are that PS3.8 or PS3.7 does not allow, it is ``protocol``."""
    return cause.kind if isinstance(cause, Cause) else "protocol"


class _Fault(Exception):
    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause  # in our words; an `Excess` where it is a limit


class InvalidPDU(_Fault):
    """A PDU, or a part of one, that PS3.8 does not allow: answered with an A-ABORT of this `reason`."""

    def __init__(self, cause: str, reason: AbortReason = AbortReason.INVALID_PARAMETER_VALUE) -> None:
        super().__init__(cause)
        self.reason = reason


class InvalidMessage(_Fault):
    """A DIMSE message so wrong that no response can be addressed: answered with an A-ABORT."""


class InvalidCommand(_Fault):
    """A request that can be answered but not performed: answered with a response of this `status`."""

    def __init__(self, cause: str, status: Status) -> None:
        super().__init__(cause)
        self.status = status


class StoreFailure(_Fault):
    """An instance that is not stored: answered with a C-STORE response of this `status`.

    `status` may be any failure of PS3.4 Table B.2-1, as an int. The cause is for our log;
    the peer never sees it.
    """

    def __init__(self, cause: str, status: int = Status.PROCESSING_FAILURE) -> None:
        super().__init__(cause)
        self.status = status

    @classmethod
    def from_os_error(cls, error: OSError) -> "StoreFailure":
        """The failure that `error`, of a file call, means to the peer."""
        exhausted = error.errno in _RESOURCES
        return cls(error.strerror or str(error), Status.OUT_OF_RESOURCES if exhausted else Status.PROCESSING_FAILURE)


_RESOURCES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})


class CannotStart(Exception):
    """Something outside the configuration stands in the way: a directory, a port, a file. Exit code 1."""
