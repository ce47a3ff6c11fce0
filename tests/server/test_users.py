# mypy: allow-untyped-calls
"""UsersFile: who is known by a name, or a name and a passcode, and that comparing is done in turn and elsewhere."""

import contextlib
import os
from collections.abc import Callable
from typing import Any
from unittest import mock

from argon2 import PasswordHasher, Type, extract_parameters
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from storescp.errors import CannotStart
from storescp.server import users
from storescp.server.identity import IUsername, NotVerified, Passcode, Username
from storescp.server.users import UsersFile, users_line
from tests.files import LinesTestCase

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash("opensea")
OTHER_HASH = CHEAP.hash("se\u00e5 of \u00e5ll")

WRONG = "unknown, or the passcode is wrong"
NOT_BY_NAME = "unknown, or not without a passcode"


class CountingHasher:
    """Hashes cheaply, and writes down what is compared with what."""

    def __init__(self) -> None:
        self.compared: list[tuple[str, bytes]] = []

    def hash(self, passcode: str) -> str:
        return CHEAP.hash(passcode)

    def verify(self, hashed: str, passcode: bytes) -> bool:
        self.compared.append((hashed, passcode))
        return CHEAP.verify(hashed, passcode)


class Held:
    """A `Run` that holds work back until a test does it."""

    def __init__(self) -> None:
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.work.append((done, lambda: function(*arguments)))
        return done

    def do_next(self) -> None:
        done, work = self.work.pop(0)
        maybeDeferred(work).addBoth(done.callback)


class UsersTestCase(LinesTestCase):
    def setUp(self) -> None:
        self.hasher = CountingHasher()
        patcher = mock.patch.object(users, "_hasher", self.hasher)
        patcher.start()
        self.addCleanup(patcher.stop)

    def users(self, *lines: str | bytes, run: Any = maybeDeferred) -> UsersFile:
        return UsersFile(self.write(*lines), run)

    def ask(self, checker: UsersFile, credentials: Any) -> bytes | str:
        """Who it is, or why nobody."""
        asked = maybeDeferred(checker.requestAvatarId, credentials)
        answers: list[Any] = []
        asked.addBoth(answers.append)
        (answer,) = answers
        if isinstance(answer, Failure):
            answer.trap(NotVerified)
            return answer.getErrorMessage()
        assert isinstance(answer, bytes)
        return answer

    def ask_each(self, checker: UsersFile, *pairs: tuple[str, str]) -> list[bytes | str]:
        return [self.ask(checker, Passcode(name.encode(), passcode.encode())) for name, passcode in pairs]


class PasscodeTests(UsersTestCase):
    def test_right(self) -> None:
        """Who knows the passcode is who he says, in the bytes that he says it in."""
        checker = self.users(f"alice:{HASH}", f"Dr. \u00c4:{OTHER_HASH}")
        answers = self.ask_each(checker, ("alice", "opensea"), ("Dr. \u00c4", "se\u00e5 of \u00e5ll"))
        self.assertEqual([b"alice", "Dr. \u00c4".encode()], answers)

    def test_wrong(self) -> None:
        """Who does not, or knows another's, or hardly, is nobody."""
        checker = self.users(f"alice:{HASH}", f"bob:{OTHER_HASH}")
        for name, passcode in (
            ("alice", "OPENSEA"),
            ("alice", "opensea "),
            ("alice", "opense"),
            ("alice", ""),
            ("alice", HASH),
            ("bob", "opensea"),
            ("Alice", "opensea"),
            ("alice ", "opensea"),
            ("", "opensea"),
        ):
            self.assertEqual([WRONG], self.ask_each(checker, (name, passcode)), (name, passcode))

    def test_any_bytes(self) -> None:
        """A passcode may have any bytes, and as many as a field can."""
        checker = self.users(f"alice:{HASH}")
        for passcode in (b"\xff\xfe", b"opensea\0", b"\0" * 65535):
            self.assertEqual(WRONG, self.ask(checker, Passcode(b"alice", passcode)))

    def test_unknown(self) -> None:
        """Who is not known, or has no passcode, is compared as well, once: nobody hears sooner that he is not."""
        checker = self.users(f"alice:{HASH}", "bob:no-passcode")
        answers = self.ask_each(checker, ("alice", "x"), ("carol", "opensea"), ("carol", ""), ("bob", ""), ("bob", "x"))
        self.assertEqual([WRONG] * 5, answers)
        passcodes = [passcode for _, passcode in self.hasher.compared]
        self.assertEqual([b"x", b"opensea", b"", b"", b"x"], passcodes)
        known, *others = [hashed for hashed, _ in self.hasher.compared]
        self.assertEqual((HASH, 1, False), (known, len(set(others)), HASH in others))

    def test_unknown_costs_as_much(self) -> None:
        """It is compared with a hash that costs as much as the first one of the file, whoever made that and how."""
        for variant in Type:
            first = PasswordHasher(time_cost=3, memory_cost=24, parallelism=2, hash_len=20, salt_len=9, type=variant)
            hashed = first.hash("opensea")
            checker = self.users("# first", "bob:no-passcode", f"alice:{hashed}", f"carol:{HASH}")
            answers = self.ask_each(checker, ("dave", "opensea"), ("bob", ""), ("bob", "opensea"), ("alice", ""))
            self.assertEqual([WRONG] * 4, answers)
            *unknown, known = [compared for compared, _ in self.hasher.compared]
            self.hasher.compared.clear()
            self.assertEqual((1, hashed, False), (len(set(unknown)), known, hashed in unknown))
            self.assertEqual(extract_parameters(hashed), extract_parameters(unknown[0]))

    def test_unknown_after_reload(self) -> None:
        """After a reload that is the first one of then; where no line has a hash, it costs what our own would."""
        expected = [HASH, PasswordHasher(time_cost=2, memory_cost=16, parallelism=2).hash("x")]
        checker = self.users(f"alice:{expected[0]}")
        self.ask_each(checker, ("dave", "x"))
        for lines in ([f"alice:{expected[1]}", f"carol:{HASH}"], ["bob:no-passcode"]):
            self.rewrite(*lines)
            checker.reload()
            self.ask_each(checker, ("dave", "x"))
        parameters = [extract_parameters(hashed) for hashed, _ in self.hasher.compared]
        self.assertEqual([*map(extract_parameters, expected), extract_parameters(CHEAP.hash(""))], parameters)

    def test_other_hashes(self) -> None:
        """Each variant of Argon2 will do, with the parameters that it says; one that says no hash matches nothing."""
        for variant in Type:
            passcode = PasswordHasher(time_cost=2, memory_cost=16, parallelism=2, type=variant).hash("x")
            checker = self.users(f"alice:{passcode}")
            self.assertEqual([b"alice", WRONG], self.ask_each(checker, ("alice", "x"), ("alice", "y")))
        checker = self.users("alice:$argon2id$v=19$m=8,t=1,p=1$!!!!!!!!!!!!$????????")
        self.assertEqual([WRONG], self.ask_each(checker, ("alice", "x")))

    def test_unusable_hash(self) -> None:
        """One with which nothing can be compared, as where the end of its line is missing, is no mistake of ours."""
        for parameters in (
            "m=8,t=1,p=1$c2FsdHNhbHQ$aG",
            "m=8,t=1,p=1$c2E$aGFzaGhhc2g",
            "m=8,t=1,p=2$c2FsdHNhbHQ$aGFzaA",
        ):
            with contextlib.suppress(CannotStart):
                checker = self.users(f"alice:$argon2id$v=19${parameters}")
                self.assertEqual([WRONG, WRONG], self.ask_each(checker, ("alice", "x"), ("bob", "x")))

    def test_interfaces(self) -> None:
        """A portal asks about names, and about names with passcodes."""
        self.assertEqual((IUsername, IUsernamePassword), self.users("bob:no-passcode").credentialInterfaces)


class NameTests(UsersTestCase):
    """Users whom nothing proves: type 1."""

    def test_known(self) -> None:
        """A name with no-passcode after it is enough; nothing is compared for it."""
        checker = self.users("bob:no-passcode", f"alice:{HASH}")
        self.assertEqual((b"bob", []), (self.ask(checker, Username(b"bob")), self.hasher.compared))

    def test_not_without(self) -> None:
        """That of a user with a passcode is not, nor one that is unknown; which it is, is not told."""
        checker = self.users("bob:no-passcode", f"alice:{HASH}")
        for name in (b"alice", b"carol", b"Bob", b""):
            self.assertEqual(NOT_BY_NAME, self.ask(checker, Username(name)))

    def test_with_a_passcode(self) -> None:
        """Who has none is not known by one: he has proved nothing by it."""
        checker = self.users("bob:no-passcode")
        answers = self.ask_each(checker, ("bob", ""), ("bob", "opensea"), ("bob", "no-passcode"))
        self.assertEqual([WRONG] * 3, answers)

    def test_credentials_of_others(self) -> None:
        """What is proved by a passcode alone is told by the interface, not the class: others make them, too."""

        @implementer(IUsername)
        class Name:
            def __init__(self, username: bytes) -> None:
                self.username = username

        checker = self.users("bob:no-passcode", f"alice:{HASH}")
        self.assertEqual([b"bob", NOT_BY_NAME], [self.ask(checker, Name(name)) for name in (b"bob", b"alice")])
        passcodes = [UsernamePassword(b"alice", b"opensea"), UsernamePassword(b"bob", b"")]
        self.assertEqual([b"alice", WRONG], [self.ask(checker, each) for each in passcodes])


class TurnTests(UsersTestCase):
    """Comparing takes memory and time: it is done elsewhere, and two at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.held = Held()
        self.checker = self.users(f"alice:{HASH}", "bob:no-passcode", run=self.held)
        self.answers: list[Any] = []

    def begin(self, *passcodes: bytes) -> list["Deferred[Any]"]:
        asked = [self.checker.requestAvatarId(Passcode(b"alice", passcode)) for passcode in passcodes]
        for each in asked:
            each.addErrback(lambda failure: failure.type).addCallback(self.answers.append)
        return asked

    def do(self, number: int) -> list[bytes]:
        """The passcodes that were compared, when this much was done."""
        for _ in range(number):
            self.held.do_next()
        return [passcode for _, passcode in self.hasher.compared]

    def test_two(self) -> None:
        """Two are under way; the others come when one of them is done, in the order in which they came."""
        self.begin(b"1", b"opensea", b"3", b"4", b"5")
        self.assertEqual((2, []), (len(self.held.work), self.answers))
        for done in range(1, 6):
            self.do(1)
            self.assertEqual((min(2, 5 - done), done), (len(self.held.work), len(self.answers)))
        self.assertEqual([b"1", b"opensea", b"3", b"4", b"5"], self.do(0))
        self.assertEqual([NotVerified, b"alice", NotVerified, NotVerified, NotVerified], self.answers)

    def test_names(self) -> None:
        """A name alone need not wait."""
        self.begin(b"1", b"2", b"3")
        self.assertEqual(b"bob", self.ask(self.checker, Username(b"bob")))

    def test_cancelled(self) -> None:
        """What is cancelled while it waits is never compared, and keeps nobody from his turn."""
        asked = self.begin(b"1", b"2", b"3", b"opensea")
        asked[2].cancel()
        self.assertEqual([CancelledError], self.answers)
        self.assertEqual([b"1", b"2", b"opensea"], self.do(3))
        self.assertEqual([CancelledError, NotVerified, NotVerified, b"alice"], self.answers)
        self.assertEqual([], self.held.work)

    def test_cancelled_under_way(self) -> None:
        """What is cancelled while it is compared goes on, as threads do: its turn is over when that is."""
        asked = self.begin(b"1", b"2", b"3", b"4")
        asked[0].cancel()
        asked[1].cancel()
        self.assertEqual([CancelledError, CancelledError], self.answers)
        self.assertEqual(2, len(self.held.work))
        self.assertEqual([b"1", b"2", b"3", b"4"], self.do(4))

    def test_failing(self) -> None:
        """Work that fails otherwise, such as for want of memory, keeps nobody from his turn."""
        with mock.patch.object(self.hasher, "verify", side_effect=MemoryError()):
            self.begin(b"1", b"2", b"3")
            self.do(3)
        self.assertEqual([MemoryError] * 3, self.answers)
        self.begin(b"opensea")
        self.do(1)
        self.assertEqual(b"alice", self.answers[-1])

    def test_reload(self) -> None:
        """What waits is compared with what there was when it came."""
        self.begin(b"1", b"2", b"opensea")
        self.rewrite("bob:no-passcode")
        self.checker.reload()
        self.do(3)
        self.assertEqual([NotVerified, NotVerified, b"alice"], self.answers)


NO_HASH = "what follows the name is no Argon2 hash: storescp --hash-passcode NAME"
FAULTS: dict[str | bytes, str] = {
    ":": "it begins without a name",
    f":{HASH}": "it begins without a name",
    "alice": NO_HASH,
    "alice:": NO_HASH,
    "alice:opensea": NO_HASH,
    "alice:no-passcod": NO_HASH,
    "alice:NO-PASSCODE": NO_HASH,
    "alice: no-passcode": NO_HASH,
    "alice:no-passcode:": NO_HASH,
    ":no-passcode": "it begins without a name",
    f"alice: {HASH}": NO_HASH,
    "alice:$2b$12$abcdefghijklmnopqrstuv": NO_HASH,
    "alice:$argon2id$v=19$m=8,t=1,p=1$c2FsdA": NO_HASH,
    "alice:$argon2id$v=19$t=1,p=1$c2FsdA$aGFzaA": NO_HASH,
    "alice:$argon2id$v=19$m=x,t=1,p=1$c2FsdA$aGFzaA": NO_HASH,
    "alice:$argon2x$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA": NO_HASH,
    "alice:\u00c4": NO_HASH,
    b"alice:\xff": NO_HASH,
    "bob:no-passcode": "this user stands twice",
    f"bob:{HASH}": "this user stands twice",
    f"carol:{OTHER_HASH}": "this user stands twice",
    "carol:no-passcode": "this user stands twice",
}


class FileTests(UsersTestCase):
    def fault(self, *lines: str | bytes) -> str:
        """Why a server of this file cannot start, where FILE stands for its path."""
        return str(self.assertRaises(CannotStart, self.users, *lines)).replace(self.path, "FILE")

    def test_faults(self) -> None:
        """Each mistake is told in one line, with where it is and without what follows a name: it may be a passcode."""
        for line, expected in FAULTS.items():
            fault = self.fault("# first", "bob:no-passcode", "", f"carol:{HASH}", line, "dave:no-passcode")
            self.assertEqual(f"FILE, line 5: {expected}", fault, line)

    def test_no_file(self) -> None:
        """So is a file that is not there, or is none."""
        for path, expected in (("/nowhere/users", "No such file or directory"), (os.curdir, "Is a directory")):
            error = self.assertRaises(CannotStart, UsersFile, path, maybeDeferred)
            self.assertEqual(f"{path}: {expected}", str(error))

    def test_around_it(self) -> None:
        """Comments, empty lines, spaces around and the ends of lines of other systems do no harm."""
        checker = self.users(
            "# carol\r", "\r", " \t# dave", f"  alice:{HASH}  \r", "", "\tbob:no-passcode\t", "a#b:no-passcode"
        )
        self.assertEqual([b"alice"], self.ask_each(checker, ("alice", "opensea")))
        self.assertEqual([b"bob", b"a#b"], [self.ask(checker, Username(name)) for name in (b"bob", b"a#b")])
        for name in (b"carol", b"# carol", b"dave", b""):
            self.assertEqual(NOT_BY_NAME, self.ask(checker, Username(name)))

    def test_any_bytes(self) -> None:
        """A name is bytes, as it is in a User Identity."""
        checker = self.users(b"\xff\xfe:no-passcode")
        self.assertEqual(b"\xff\xfe", self.ask(checker, Username(b"\xff\xfe")))

    def test_nobody(self) -> None:
        """A file without a user is more likely a mistake than somebody's wish."""
        for lines in ([], [""], ["# alice:no-passcode", " "]):
            self.assertEqual("FILE: there is no user in it", self.fault(*lines))

    def test_cut_short(self) -> None:
        """Of a file that was written by half no user is let in without his passcode."""
        line = f"alice:{HASH}".encode()
        for length in range(len(line)):
            path = self.write(f"bob:{OTHER_HASH}")
            with open(path, "ab") as file:
                file.write(line[:length])
            with contextlib.suppress(CannotStart):
                checker = UsersFile(path, maybeDeferred)
                self.assertEqual(NOT_BY_NAME, self.ask(checker, Username(b"alice")))

    def test_reload(self) -> None:
        """What was read again counts for who is asked about then."""
        checker = self.users(f"alice:{HASH}", "bob:no-passcode")
        self.rewrite(f"alice:{OTHER_HASH}", "carol:no-passcode")
        self.assertEqual([b"alice"], self.ask_each(checker, ("alice", "opensea")))
        checker.reload()
        answers = self.ask_each(checker, ("alice", "opensea"), ("alice", "se\u00e5 of \u00e5ll"))
        self.assertEqual([WRONG, b"alice"], answers)
        names = [self.ask(checker, Username(name)) for name in (b"bob", b"carol")]
        self.assertEqual([NOT_BY_NAME, b"carol"], names)

    def test_bad_reload(self) -> None:
        """What cannot be used leaves all as it was."""
        checker = self.users(f"alice:{HASH}")
        bob = "bob:no-passcode"
        for lines in ([bob, "carol:x"], [bob, bob], [":x"], ["bob"], [bob, "carol"], []):
            self.rewrite(*lines)
            self.assertRaises(CannotStart, checker.reload)
            self.assertEqual([b"alice"], self.ask_each(checker, ("alice", "opensea")))
            self.assertEqual(NOT_BY_NAME, self.ask(checker, Username(b"bob")))
        os.remove(self.path)
        self.assertRaises(CannotStart, checker.reload)
        self.assertEqual([b"alice"], self.ask_each(checker, ("alice", "opensea")))


class LineTests(UsersTestCase):
    """users_line: what --hash-passcode prints."""

    def test_line(self) -> None:
        """A file of what it returns knows the user by that passcode."""
        for name, passcode in (("alice", "opensea"), ("Dr. \u00c4", "se\u00e5"), ("a#b", " "), ("a b", ":")):
            line = users_line(name, passcode)
            self.assertEqual(name, line.partition(":")[0])
            answers = self.ask_each(self.users(line), (name, passcode), (name, f"{passcode}x"))
            self.assertEqual([name.encode(), WRONG], answers)

    def test_salted(self) -> None:
        """The same passcode has another hash each time."""
        self.assertNotEqual(users_line("alice", "opensea"), users_line("alice", "opensea"))

    def test_strength(self) -> None:
        """By default it is Argon2id with the second choice of RFC 9106: 64 MiB, 3 passes, 4 lanes."""
        with mock.patch.object(users, "_hasher", PasswordHasher()):
            self.assertEqual("alice:$argon2id$v=19$m=65536,t=3,p=4$", users_line("alice", "opensea")[:37])

    def test_names(self) -> None:
        """A name that a line cannot have is refused."""
        for name in ("", " alice", "alice ", "alice\t", "#alice", "a:b", ":", "a\nb", "a\rb", "a\0b", "a\x7fb", " "):
            error = self.assertRaises(ValueError, users_line, name, "opensea")
            self.assertEqual(
                "a user's name has no colon, no control character, no space around it and no # before it", str(error)
            )

    def test_no_passcode(self) -> None:
        """So is an empty passcode: who needs none is a line of another form."""
        error = self.assertRaises(ValueError, users_line, "alice", "")
        self.assertEqual("a passcode must not be empty", str(error))
