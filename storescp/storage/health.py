"""Whether the disk is worth trying: after failures in a row only when a probe file could be synced."""

import errno
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from storescp.storage.directories import Directories, temporary_name

_log = Logger()

FAILURES = 3  # in a row: one or two may be an instance too large, or a moment
_PROBE = bytes(4096)  # a block: a disk that is full takes no more of them


class Health:
    """Counts failures of the disk. Every method is called on the reactor's thread; `probe` starts a probe."""

    def __init__(self, probe: "Callable[[], Deferred[None]]") -> None:
        self._probe = probe
        self._failures = 0
        self._probing = False
        self._reason = ""  # why the last probe failed

    @property
    def _ill(self) -> bool:
        return self._failures >= FAILURES

    def ready(self) -> bool:
        """Whether the disk is worth trying; where it is not, that is found out anew."""
        if self._ill:
            self._find_out()
        return not self._ill

    def failed(self) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            _log.error(
                "The disk has failed {count} times in a row: associations are rejected until it works", count=FAILURES
            )
            self._find_out()

    def succeeded(self) -> None:
        if self._ill:
            _log.warn("The disk works again: associations are accepted")
        self._failures, self._reason = 0, ""

    def _find_out(self) -> None:
        if not self._probing:
            self._probing = True
            self._probe().addCallbacks(self._found_well, self._found_ill)

    def _found_well(self, _result: None) -> None:
        self._probing = False
        self.succeeded()

    def _found_ill(self, failure: Failure) -> None:
        self._probing = False
        reason = fault_of(failure)
        if reason != self._reason:
            self._reason = reason
            _log.warn("The disk does not work yet: {reason}", reason=reason)


def fault_of(failure: Failure) -> str:
    """What a probe has failed with, in words."""
    fault: str = getattr(failure.value, "strerror", None) or failure.getErrorMessage()
    return fault


def probe(directories: Directories) -> None:
    """Sync a file, and forget it; could it be published? Blocks; raises OSError."""
    disk, name = directories.disk, temporary_name()
    directories.check_place()
    if not disk.is_writable(directories.root):
        raise OSError(errno.EACCES, "the output directory is not writable")
    descriptor = disk.create(name, directories.incoming)
    try:
        try:
            if disk.write(descriptor, [_PROBE]) < len(_PROBE):
                raise OSError(errno.ENOSPC, "there is no room for one block")
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)
    finally:
        disk.unlink(name, directories.incoming)
    directories.sync_root()
