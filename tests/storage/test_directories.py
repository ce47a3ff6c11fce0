"""A start: the directories are ours alone, and what a crash has left there is gone."""

import errno
import os
import subprocess
import sys
from itertools import count

from twisted.logger import capturedLogs

from storescp.errors import CannotStart
from storescp.interfaces import Room
from storescp.storage.directories import Directories
from storescp.storage.directory import DirectoryStorage
from storescp.storage.disk import Disk
from storescp.storage.rules import Rules
from storescp.storage.workers import AtOnce
from tests.storage import request
from tests.storage.disks import DATA_SET, DirectoryTestCase, FaultyDisk, result, store, temporary, visible

OURS = ("0123456789abcdef" * 2 + ".part", "f" * 32 + ".part")
NOT_OURS = (
    "old.part",
    "0" * 32,
    "0" * 31 + ".part",
    "0" * 33 + ".part",
    "0" * 32 + ".part.gz",
    "0" * 32 + ".part\n",
    "A" * 32 + ".part",
    "." + "0" * 32 + ".part",
)

# Starts a storage, and says why it cannot.
ANOTHER_PROCESS = """
import sys
from storescp.errors import CannotStart
from storescp.interfaces import Room
from storescp.storage.directory import DirectoryStorage
from storescp.storage.workers import AtOnce
try:
    DirectoryStorage(sys.argv[1], AtOnce()).start()
except CannotStart as error:
    print(error)
else:
    print("started")
"""


class StartTestCase(DirectoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.absolute = self.path.absolute()
        self.incoming = self.absolute / ".incoming"

    def refused(self, disk: Disk | None = None) -> str:
        """The reason why there can be no storage in the directory."""
        with self.assertRaises(CannotStart) as context:
            DirectoryStorage(str(self.path), AtOnce(), disk=disk or FaultyDisk()).start()
        return str(context.exception)


class RulesTests(DirectoryTestCase):
    def test_defaults(self) -> None:
        """What nobody has chosen is the safest: full durability, and no content is lost."""
        self.assertEqual(Rules(durability="full", on_duplicate="keep", min_free=0), Rules())

    def test_wrong(self) -> None:
        """What is no rule is complained about."""
        self.assertRaises(ValueError, Rules, durability="half")
        self.assertRaises(ValueError, Rules, on_duplicate="ask")
        self.assertRaises(ValueError, Rules, min_free=-1)


class StartTests(StartTestCase):
    """What stands in the way of a start is said before the first instance."""

    def test_incoming(self) -> None:
        """The directory for what is incoming is for us alone; one that is there already is used."""
        self.storage().stop()
        self.assertEqual(0o700, self.incoming.stat().st_mode & 0o777)
        self.storage()
        self.check({})

    def test_others_kept_out(self) -> None:
        """A directory for what is incoming that was here before lets nobody else in from now on."""
        self.incoming.mkdir()
        self.incoming.chmod(0o777)
        self.storage()
        self.assertEqual(0o700, self.incoming.stat().st_mode & 0o777)

    def test_removed(self) -> None:
        """A directory that vanishes before the start is complained about."""
        storage = DirectoryStorage(str(self.path), AtOnce())
        self.path.rmdir()
        with self.assertRaises(CannotStart) as context:
            storage.start()
        self.assertEqual(f"output directory {self.absolute}: No such file or directory", str(context.exception))

    def test_incoming_is_a_file(self) -> None:
        """A file in the place of the directory for what is incoming is complained about, and stays."""
        self.incoming.write_bytes(b"kept")
        self.assertEqual(f"output directory {self.incoming}: Not a directory", self.refused())
        self.assertEqual(b"kept", self.incoming.read_bytes())

    def test_incoming_is_a_link(self) -> None:
        """A link in its place is refused, for it could lead anywhere, and nothing is removed there."""
        elsewhere = self.path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / OURS[0]).write_bytes(b"kept")
        self.incoming.symlink_to("elsewhere")
        self.assertEqual(f"output directory {self.incoming}: Not a directory", self.refused())
        self.assertEqual([OURS[0]], os.listdir(elsewhere))

    def test_lock_is_a_link(self) -> None:
        """A link in the place of the lock is refused as well."""
        self.incoming.mkdir()
        (self.incoming / "lock").symlink_to("elsewhere")
        self.assertEqual(f"output directory {self.incoming}: Too many levels of symbolic links", self.refused())
        self.assertEqual(["lock"], os.listdir(self.incoming))

    def test_faults(self) -> None:
        """Each call of a start that fails is said in the disk's words, and leaves no descriptor open."""
        words = os.strerror(errno.EMFILE)
        found = []
        for nth in count(1):
            self.setUp()
            self.incoming.mkdir()
            (self.incoming / OURS[0]).write_bytes(b"half")
            disk = FaultyDisk()
            disk.arm(nth, errno.EMFILE)
            storage = DirectoryStorage(str(self.path), AtOnce(), disk=disk)
            try:
                storage.start()
            except CannotStart as error:
                found.append((disk.failed, str(error).replace(str(self.absolute), ""), disk.open_descriptors))
                storage.start()  # it may be tried again
            disk.disarm()
            storage.stop()
            self.assertEqual([], temporary(self.path))
            if not disk.failed:
                break
        self.assertEqual(
            [
                ("open_directory", f"output directory : {words}", set()),
                ("make_directory", f"output directory /.incoming: {words}", set()),
                ("open_directory", f"output directory /.incoming: {words}", set()),
                ("make_private", f"output directory /.incoming: {words}", set()),
                ("lock", f"output directory /.incoming: {words}", set()),
                ("make_private", f"output directory /.incoming: {words}", set()),
                ("names", f"output directory /.incoming: {words}", set()),
                ("is_file", f"output directory /.incoming: {words}", set()),
                ("unlink", f"output directory /.incoming: {words}", set()),
                ("identity", f"output directory : {words}", set()),
                ("identity", f"output directory : {words}", set()),
            ],
            found,
        )

    def test_started_twice(self) -> None:
        """One storage cannot serve two factories: the first to stop would close it for the other."""
        storage = self.storage()
        with self.assertRaises(CannotStart) as context:
            storage.start()
        self.assertEqual(
            f"output directory {self.absolute}: this storage is started already, by another factory",
            str(context.exception),
        )
        self.assertEqual("CT.1.2.3", store(storage, DATA_SET))


class LockTests(StartTestCase):
    """A directory belongs to one server at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.taken = (
            f"output directory {self.absolute}: another storescp stores there: "
            "stop that one, or choose another directory"
        )

    def test_second(self) -> None:
        """A second storage is refused and told what to do; the first goes on, with what it has begun."""
        disk = FaultyDisk()
        storage = self.storage()
        sink = storage.open(request())
        sink.write(memoryview(bytes(256 * 1024)))
        self.assertEqual((self.taken, set()), (self.refused(disk), disk.open_descriptors))
        self.assertEqual("CT.1.2.3", result(sink.finish()))
        self.assertEqual("CT.1.2.4", store(storage, DATA_SET, uid="1.2.4"))
        self.assertEqual({"CT.1.2.3", "CT.1.2.4"}, set(visible(self.path)))

    def test_stopped(self) -> None:
        """After a stop the directory is free for another one."""
        for _ in range(2):
            storage = self.storage()
            self.successResultOf(storage.stop())
        self.assertEqual(["lock"], os.listdir(self.incoming))

    def start_another_process(self) -> str:
        """What another process says that starts a storage in the directory."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", ANOTHER_PROCESS, str(self.path)]
        return subprocess.run(command, env=environment, capture_output=True, check=True, text=True, timeout=60).stdout

    def test_another_process(self) -> None:
        """So is a storage of another process, for as long as the first one is there."""
        storage = self.storage()
        self.assertEqual(f"{self.taken}\n", self.start_another_process())
        self.assertEqual("CT.1.2.3", store(storage, DATA_SET))
        self.successResultOf(storage.stop())
        self.assertEqual("started\n", self.start_another_process())
        self.storage()  # the lock of a process that has ended without a stop is gone with it


class LeftoverTests(StartTestCase):
    """Temporary files of a server that was killed."""

    def start(self) -> list[object]:
        """The log of a start."""
        with capturedLogs() as logs:
            self.storage()
        return [(event["log_level"].name, event["log_format"].format(**event)) for event in logs]

    def test_removed(self) -> None:
        """Ours are removed, and counted in one line of the log."""
        self.incoming.mkdir()
        for name in OURS:
            (self.incoming / name).write_bytes(b"half")
        expected = [("warn", f"Removed 2 temporary file(s) of an earlier run from {self.incoming}")]
        self.assertEqual(expected, self.start())
        self.check({})

    def test_none(self) -> None:
        """Where there are none nothing is said."""
        self.assertEqual([], self.start())

    def test_other_names(self) -> None:
        """Files that are not named like ours are left alone."""
        self.incoming.mkdir()
        for name in (*NOT_OURS, "lock"):
            (self.incoming / name).write_bytes(b"kept")
        self.assertEqual([], self.start())
        self.assertEqual(
            dict.fromkeys([*NOT_OURS, "lock"], b"kept"),
            {each.name: each.read_bytes() for each in self.incoming.iterdir()},
        )

    def test_no_files(self) -> None:
        """What is named like ours and is no regular file is none of ours."""
        self.incoming.mkdir()
        target = self.path / "target"
        target.write_bytes(b"kept")
        names = [f"{number}" * 32 + ".part" for number in range(4)]
        (self.incoming / names[0]).mkdir()
        (self.incoming / names[1]).symlink_to(target.absolute())
        (self.incoming / names[2]).symlink_to("nothing")
        os.mkfifo(self.incoming / names[3])
        self.assertEqual([], self.start())
        self.assertEqual((names, b"kept"), (sorted(temporary(self.path)), target.read_bytes()))

    def test_files_of_the_user(self) -> None:
        """In the output directory itself nothing is removed, whatever its name."""
        (self.path / OURS[0]).write_bytes(b"kept")
        self.assertEqual([], self.start())
        self.check({OURS[0]: b"kept"})

    def test_own_names(self) -> None:
        """The names of our temporary files are such that another start knows them."""
        storage = self.storage()
        sink = storage.open(request())
        sink.write(memoryview(bytes(256 * 1024)))
        (name,) = temporary(self.path)
        sink.abort()
        storage.stop()
        (self.incoming / name).write_bytes(b"half")
        self.start()
        self.check({})


class RoomTests(StartTestCase):
    """How much room there is."""

    def test_room(self) -> None:
        """It is what the file system has, by the path of the directory; temporary files are those of ours alone."""

        class Small(FaultyDisk):
            def free(self, directory: int) -> int:
                return 300

            def total(self, directory: int) -> int:
                return 1000

        directories = Directories.open(str(self.absolute), Small(), Rules())
        self.addCleanup(directories.close)
        empty = Room(place=str(self.absolute), free=300, total=1000, temporary=0)
        self.assertEqual(empty, directories.room())
        for name in (*OURS, *NOT_OURS):
            (self.incoming / name).write_bytes(b"")
        (self.absolute / OURS[0]).write_bytes(b"")  # another directory
        self.assertEqual(Room(place=str(self.absolute), free=300, total=1000, temporary=len(OURS)), directories.room())

    def test_fails(self) -> None:
        """Each call that fails is told, and there is nothing to be closed."""
        disk = FaultyDisk()
        directories = Directories.open(str(self.absolute), disk, Rules())
        self.addCleanup(directories.close)
        opened = set(disk.open_descriptors)
        for nth, name in enumerate(("free", "total", "names"), 1):
            disk.arm(nth, errno.EIO)
            self.assertRaises(OSError, directories.room)
            self.assertEqual((name, opened), (disk.calls[-1], disk.open_descriptors))
        disk.disarm()
