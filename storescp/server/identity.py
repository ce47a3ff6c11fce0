"""Identity: who the user of an association is, PS3.7 D.3.3.7, decided by a portal of `twisted.cred`."""

import hmac
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.cred.checkers import ANONYMOUS
from twisted.cred.credentials import Anonymous, IAnonymous, ICredentials, IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from storescp.interfaces import Association, IUser
from storescp.server.timers import Timer
from storescp.storage.locks import NameLocks
from storescp.ul.items import UserIdentityRQ
from storescp.ul.negotiation import USER_IDENTITY_REFUSED, Rejection

_log = Logger()

VERIFYING = 10.0  # seconds in which a portal must know a user

USERNAME = 1
USERNAME_AND_PASSCODE = 2
JSON_WEB_TOKEN = 5
_SECRETS = {USERNAME_AND_PASSCODE: "a passcode", JSON_WEB_TOKEN: "a token"}


class IUsername(ICredentials):
    """A name that nothing proves: type 1."""

    username = Attribute("As it was sent: bytes.")


class IJSONWebToken(ICredentials):
    """A token that says who it is for: type 5."""

    token = Attribute("In compact form, as it was sent: bytes.")


@implementer(IUsername)
@attrs.frozen
class Username:
    username: bytes


@implementer(IUsernamePassword)
@attrs.frozen
class Passcode:
    """Type 2."""

    username: bytes
    password: bytes = attrs.field(repr=False)

    def checkPassword(self, password: bytes) -> bool:
        return hmac.compare_digest(self.password, password)


@implementer(IJSONWebToken)
@attrs.frozen
class JSONWebToken:
    token: bytes = attrs.field(repr=False)


CREDENTIALS = frozenset({IUsername, IUsernamePassword, IJSONWebToken, IAnonymous})  # what a portal may be asked about


class NotVerified(UnauthorizedLogin):
    """What a checker of ours has against a peer: words that may be logged, as those of another checker may not."""


def credentials_of(identity: UserIdentityRQ | None, *, secure: bool) -> ICredentials:
    """What a portal is asked about. Raises `Rejection` for a type that none knows, or a secret on an open line."""
    if identity is None:
        return Anonymous()
    secret = _SECRETS.get(identity.identity_type)
    if secret and not secure:
        raise Rejection(USER_IDENTITY_REFUSED, f"{secret} came without TLS (--insecure-identity)")
    if identity.identity_type == USERNAME:
        return Username(identity.primary_field)
    if identity.identity_type == USERNAME_AND_PASSCODE:
        return Passcode(identity.primary_field, identity.secondary_field)
    if identity.identity_type == JSON_WEB_TOKEN:
        return JSONWebToken(identity.primary_field)
    raise Rejection(USER_IDENTITY_REFUSED, f"a user identity of type {identity.identity_type} cannot be verified")


class Login:
    """Asks a portal who the user of one association is, and tells its name, or why it is refused; never both.

    Of one host one login is under way at a time, by its lock: who guesses waits for himself, and nobody for him. `end`
    ends it: no more is told then, and who was logged in is logged out.
    """

    def __init__(
        self,
        portal: Portal,
        locks: NameLocks,
        clock: IReactorTime,
        verified: Callable[[str], None],
        refused: Callable[[Rejection], None],
    ) -> None:
        self._portal = portal
        self._locks = locks
        self._verified = verified
        self._refused = refused
        self._deadline = Timer(clock, VERIFYING, self._late)
        self._open = False  # since it has begun, until something is told
        self._host = ""
        self._association_id = ""  # for the log
        self._waits: Callable[[], None] | None = None  # for the lock
        self._asked: Deferred[Any] | None = None
        self._logout: Callable[[], object] = _nothing

    def begin(self, host: str, credentials: ICredentials, association: Association) -> None:
        self._open = True
        self._deadline.start()
        self._host = host
        self._association_id = association.id
        self._waits = partial(self._ask, credentials, association)
        self._locks.take(host, self._waits)

    def _ask(self, credentials: ICredentials, association: Association) -> None:
        self._waits = None
        self._asked = asked = maybeDeferred(self._portal.login, credentials, association, IUser)
        asked.addCallbacks(self._succeeded, self._failed, errbackArgs=(credentials,))
        asked.addErrback(self._mistaken)

    def end(self) -> None:
        if self._over() and self._asked is not None:
            self._cancel(self._asked)
        logout, self._logout = self._logout, _nothing
        maybeDeferred(logout).addErrback(self._logout_failed)

    def _cancel(self, asked: "Deferred[Any]") -> None:
        try:
            asked.cancel()
        except Exception:  # of a checker: the peer is answered all the same
            _log.failure("The verification of a user could not be cancelled", association=self._association_id)

    def _logout_failed(self, failure: Failure) -> None:
        _log.failure("A user could not be logged out", failure=failure, association=self._association_id)

    def _over(self) -> bool:
        """Whether nothing was told so far. The next one may begin, whatever a checker still does for this one."""
        if not self._open:
            return False
        self._open = False
        self._deadline.stop()
        if self._waits is None:
            self._locks.release(self._host)
        else:
            self._locks.leave(self._host, self._waits)
        return True

    def _succeeded(self, answer: tuple[object, Any, Callable[[], object]]) -> None:
        _interface, user, self._logout = answer
        if self._over():
            self._verified(user.name)
        else:  # too late, whatever a checker makes of being cancelled
            self.end()

    def _failed(self, failure: Failure, credentials: ICredentials) -> None:
        if self._over():
            self._refused(Rejection(USER_IDENTITY_REFUSED, _fault(failure, credentials)))

    def _late(self) -> None:
        self.end()
        self._refused(Rejection(USER_IDENTITY_REFUSED, f"its user was not verified within {VERIFYING:g} s"))

    def _mistaken(self, failure: Failure) -> None:
        _log.failure(
            "An answer could not be sent: this is a mistake in storescp",
            failure=failure,
            association=self._association_id,
        )
        self._over()
        self._refused(Rejection(USER_IDENTITY_REFUSED, "this server failed"))


def _fault(failure: Failure, credentials: ICredentials) -> str:
    """What a portal has against these credentials."""
    error = failure.value
    if not isinstance(error, LoginFailed):  # a checker's mistake, in words that may hold a secret
        _function, file, line, *_ = failure.frames[-1] if failure.frames else ("", "?", 0)
        return f"its user could not be verified: {type(error).__qualname__} at {os.path.basename(file)}:{line}"
    if isinstance(credentials, Anonymous):
        return "there is no user identity"
    name = getattr(credentials, "username", None)
    who = "its token" if name is None else f"the user {user_name(name)!r}"
    return f"{who} is not accepted: {error}" if isinstance(error, NotVerified) else f"{who} is not accepted"


def user_name(avatar_id: Any) -> str:
    """The name of who has this avatar id: text, or UTF-8 of it; none of who is anonymous."""
    if avatar_id is ANONYMOUS:
        return ""
    return str(avatar_id, "utf-8", "replace") if isinstance(avatar_id, bytes) else str(avatar_id)


@implementer(IUser)
@attrs.frozen
class User:
    name: str


@implementer(IRealm)
class Realm:
    """Takes in everybody whom a checker has verified."""

    def requestAvatar(
        self, avatarId: Any, mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], User, Callable[[], None]]:
        if IUser not in interfaces:
            raise NotImplementedError("an association is for an IUser")
        return IUser, User(user_name(avatarId)), _nothing


def _nothing() -> None:
    pass
