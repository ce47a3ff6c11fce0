"""Whether two files are one instance: the same SOP Class, UID and transfer syntax, and the same bytes after them.

What else a header says, such as who sent it and to which version of this program, makes no other instance.
"""

from collections.abc import Callable
from hashlib import sha256

from storescp.storage.disk import Disk
from storescp.storage.part10 import LONGEST_HEADER, FileHeader, read_header

_CHUNK = 1024 * 1024  # bytes read at a time


def same_instance(disk: Disk, one: int, two: int, check: Callable[[], object]) -> bool:
    """Whether two files, open for reading, hold the same instance. False for one that is no DICOM file.

    `check` is called before each chunk, and may raise to end it.
    """
    try:
        header_one, header_two = _go_to_data_set(disk, one), _go_to_data_set(disk, two)
    except ValueError:
        return False
    size_one, size_two = disk.size(one) - header_one.length, disk.size(two) - header_two.length
    return size_one == size_two and header_one == header_two and _rest_is_same(disk, one, two, check)


def digest(disk: Disk, descriptor: int, check: Callable[[], object]) -> str:
    """64 hexadecimal digits, the same for the same instance. ValueError for what is no DICOM file.

    `check` as above.
    """
    header = _go_to_data_set(disk, descriptor)
    whole = sha256(b"\0".join([header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax, b""]))
    while chunk := disk.read(descriptor, _CHUNK):
        check()
        whole.update(chunk)
    return whole.hexdigest()


def _go_to_data_set(disk: Disk, descriptor: int) -> FileHeader:
    """The header; the next read begins behind it."""
    header = read_header(disk.read(descriptor, LONGEST_HEADER))
    disk.seek(descriptor, header.length)
    return header


def _rest_is_same(disk: Disk, one: int, two: int, check: Callable[[], object]) -> bool:
    while True:
        check()
        chunk = disk.read(one, _CHUNK)
        if chunk != disk.read(two, _CHUNK):
            return False
        if not chunk:
            return True
