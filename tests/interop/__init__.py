"""What the tests with real clients share: the files that pydicom ships, and whether they arrived."""

import warnings
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset
from twisted.trial.unittest import SynchronousTestCase

from tests.program import make_directory
from tests.servers import LOOPBACK, Server, without_addresses

CT_SMALL = Path(DATA_ROOT, "test_files", "CT_small.dcm")
CT_SMALL_UID = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
UNCOMPRESSED = (ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian)


@contextmanager
def odd_on_purpose() -> Iterator[None]:
    """pydicom need not warn of what is odd about some of these files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@attrs.frozen
class Shipped:
    """A DICOM file of a Storage SOP Class that is part of pydicom."""

    path: Path
    sop_class: UID
    transfer_syntax: UID

    @property
    def is_compressed(self) -> bool:
        return self.transfer_syntax not in UNCOMPRESSED


def shipped_files(*, compressed: bool) -> list[Shipped]:
    """All of them; none is fetched from anywhere."""
    paths = (path for path in sorted(Path(DATA_ROOT).rglob("*")) if path.is_file())
    files = (_shipped(path) for path in paths if path.read_bytes()[128:132] == b"DICM")
    return [each for each in files if each and each.is_compressed is compressed]


@odd_on_purpose()
def _shipped(path: Path) -> Shipped | None:
    meta = dcmread(path, stop_before_pixels=True).file_meta
    sop_class, syntax = UID(str(meta.get("MediaStorageSOPClassUID", ""))), meta.get("TransferSyntaxUID")
    is_storage = sop_class.type == "SOP Class" and sop_class.name.endswith(" Storage")
    if not is_storage or sop_class.keyword == "MediaStorageDirectoryStorage" or syntax is None:
        return None
    return Shipped(path, sop_class, syntax)


def data_set_bytes(path: Path) -> bytes:
    """What follows the File Meta Information, also where that does not say how long it is."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


@cache  # of files that nobody writes again
@odd_on_purpose()
def contents(path: Path) -> dict[int, tuple[str, Any]]:
    """What a data set says, in whatever encoding: VR and value of each element.

    Group lengths and padding at the end are not part of it, nor which of OB and OW compressed pixels are.
    """
    data_set = dcmread(path)
    found: dict[int, tuple[str, Any]] = {}
    for element in data_set:
        vr, value = str(element.VR), element.value
        if element.tag.element == 0 or element.tag == 0xFFFCFFFC:
            continue
        if vr == "OW" and data_set.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
            words = array("H", value)
            words.byteswap()
            value = words.tobytes()
        found[element.tag] = ("OB or OW" if vr in ("OB", "OW") else vr, value)
    return found


def not_among(some: Iterable[Path], others: Iterable[Path]) -> list[str]:
    """The names of those of `some` that say something else than each of `others`."""
    known = [contents(path) for path in others]
    with odd_on_purpose():  # also while values are compared
        return [path.name for path in some if contents(path) not in known]


class InteropTestCase(SynchronousTestCase):
    """Runs one storescp in a process, in a directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(make_directory(self))

    def serve(self, *arguments: str) -> Server:
        server = Server(LOOPBACK, *arguments, directory=str(self.directory))
        self.addCleanup(server.kill)
        return server

    @property
    def stored(self) -> list[Path]:
        return sorted(path for path in self.directory.iterdir() if path.is_file())

    def assert_log(self, server: Server, *lines: str) -> None:
        """`server` ends in order, and this is all that it has printed about associations, each with a PEER."""
        ended = server.stop()
        self.assertEqual((0, list(lines)), (ended.code, without_addresses(ended.stderr).splitlines()))

    def assert_arrived(self, sent: Sequence[Shipped], unless: Iterable[str] = ()) -> None:
        """All of `sent` were stored but for the names in `unless`, which the client cannot send; and nothing else."""
        paths = [each.path for each in sent]
        self.assertEqual([], [name for name in not_among(paths, self.stored) if name not in unless])
        self.assertEqual([], not_among(self.stored, paths))
