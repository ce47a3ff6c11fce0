"""UsersFile: a checker of names and passcodes for `twisted.cred`. Needs ``storescp[users]``."""

from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import HashingError, InvalidHashError, VerificationError
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred, DeferredSemaphore, maybeDeferred
from zope.interface import implementer

from storescp.errors import CannotStart
from storescp.server.files import each_line
from storescp.server.identity import IUsername, NotVerified

# Passcodes that are compared at a time: each takes some 64 MiB, and a processor for some 50 ms.
AT_A_TIME = 2

NO_PASSCODE = b"no-passcode"  # in the place of a hash

_T = TypeVar("_T")
Run = Callable[..., "Deferred[Any]"]  # runs a function with arguments where it may take its time

_hasher = PasswordHasher()


def users_line(name: str, passcode: str) -> str:
    """The line of a file of users for this one. Raises ValueError for what cannot stand there."""
    if not name or name != name.strip() or name.startswith("#") or ":" in name or not name.isprintable():
        raise ValueError("a user's name has no colon, no control character, no space around it and no # before it")
    if not passcode:
        raise ValueError("a passcode must not be empty")
    return f"{name}:{_hasher.hash(passcode)}"


@implementer(ICredentialsChecker)
class UsersFile:
    """Checks names, and passcodes by their hashes, with a file that has a line for each user.

    ``name:hash`` is a user with a passcode, ``name:no-passcode`` one who need not prove anything. Hashes are Argon2;
    `run` does the work of comparing with them. Raises `CannotStart` for what is wrong with the file.
    """

    credentialInterfaces = (IUsername, IUsernamePassword)

    def __init__(self, path: str, run: Run) -> None:
        self._path = path
        self._run = run
        self._turn = DeferredSemaphore(AT_A_TIME)
        self._hashes: dict[bytes, str] = {}  # by name; an empty one needs no passcode
        self.reload()

    def reload(self) -> None:
        """Read the file again. Raises `CannotStart`; then all stays as it was."""
        hashes: dict[bytes, str] = {}

        def take(_number: int, line: bytes) -> None:
            line = line.strip()
            if not line or line.startswith(b"#"):
                return
            name, hashed = _user(line)
            if name in hashes:
                raise ValueError("this user stands twice")
            hashes[name] = hashed

        each_line(self._path, take)
        if not hashes:  # more likely a mistake than somebody's wish
            raise CannotStart(f"{self._path}: there is no user in it")
        # What an unknown user is compared with, so that he is refused no sooner than a known one.
        of_nobody = _hash_like(next(filter(None, hashes.values()), ""))
        self._hashes, self._of_nobody = hashes, of_nobody

    def requestAvatarId(self, credentials: Any) -> Any:
        name: bytes = credentials.username
        hashed = self._hashes.get(name)
        if IUsername.providedBy(credentials):
            if hashed != "":
                raise NotVerified("unknown, or not without a passcode")
            return name
        return self._turn.acquire().addCallback(self._compare, name, hashed, credentials.password)

    def _compare(self, turn: DeferredSemaphore, *arguments: Any) -> "Deferred[bytes]":
        # Nobody can stop the work any more, not even who no longer waits for it: the turn lasts until it is done, or
        # peers that come and go could have any number done at a time.
        compared: Deferred[bytes] = maybeDeferred(self._run, self._verify, *arguments)
        compared.addBoth(_passed_on, turn)
        verified: Deferred[bytes] = Deferred()
        compared.chainDeferred(verified)
        return verified

    def _verify(self, name: bytes, hashed: str | None, passcode: bytes) -> bytes:
        try:
            _hasher.verify(hashed or self._of_nobody, passcode)
        except VerificationError:
            hashed = None
        if not hashed:
            raise NotVerified("unknown, or the passcode is wrong")
        return name


def _passed_on(result: _T, turn: DeferredSemaphore) -> _T:
    turn.release()
    return result


def _hash_like(example: str) -> str:
    """A hash that takes as long to compare with, if that is possible: half a hash is like none."""
    try:
        return (PasswordHasher.from_parameters(extract_parameters(example)) if example else _hasher).hash("")
    except HashingError:
        return _hasher.hash("")


def _user(line: bytes) -> tuple[bytes, str]:
    name, _, hashed = line.partition(b":")
    if not name:
        raise ValueError("it begins without a name")
    if hashed == NO_PASSCODE:  # in words, or half a line would let somebody in
        return name, ""
    try:
        extract_parameters(str(hashed, "ascii"))
    except (InvalidHashError, UnicodeDecodeError):
        raise ValueError("what follows the name is no Argon2 hash: storescp --hash-passcode NAME") from None
    return name, str(hashed, "ascii")
