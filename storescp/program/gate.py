"""What options ask for that not everybody has: checkers of users, TLS, a port to look at; and whether there is a gate.

Libraries of extras are imported here where an option of a server needs them.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from storescp.config import Config, ConfigError
from storescp.errors import CannotStart
from storescp.interfaces import IStorage
from storescp.program.endpoints import without_tls
from storescp.server.identity import CREDENTIALS


def checkers_for(config: Config, reactor: Any) -> list[Any]:
    """Of users, as the options have them, each for credentials of its own. Raises ConfigError and `CannotStart`."""
    checkers: dict[Any, Any] = {}
    for checker in _checkers(config, reactor):
        for interface in CREDENTIALS.intersection(checker.credentialInterfaces):
            if interface in checkers:
                raise ConfigError("auth", "two of --users, --jwt-key and --auth verify the same kind of user identity")
            checkers[interface] = checker
    return list(dict.fromkeys(checkers.values()))


def _checkers(config: Config, reactor: Any) -> Iterator[Any]:
    try:
        if config.users is not None:
            from storescp.server.users import UsersFile  # noqa: PLC0415

            yield UsersFile(config.users, partial(_in_thread, reactor))
        if config.jwt_key is not None:
            from storescp.server.tokens import TokenChecker  # noqa: PLC0415

            yield TokenChecker(config.jwt_key, audience=config.jwt_audience, issuer=config.jwt_issuer)
    except ImportError as error:
        raise CannotStart(f"{error}; pip install 'storescp[users]'") from None
    for description in config.auth:
        yield _plugin(description)


def _in_thread(reactor: Any, work: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
    return deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)


def _plugin(description: str) -> Any:
    """A checker that one of Twisted's plugins makes."""
    from twisted.cred.strcred import (  # noqa: PLC0415  # it looks for plugins
        InvalidAuthArgumentString,
        InvalidAuthType,
        makeChecker,
    )

    try:
        checker = makeChecker(description)
    except InvalidAuthType:
        raise ConfigError("auth", f"{description}: there is no such plugin (twistd ftp --help-auth)") from None
    except (InvalidAuthArgumentString, ValueError, TypeError) as error:
        raise ConfigError("auth", f"{description}: {error}") from None
    except (OSError, ImportError) as error:
        raise CannotStart(f"{description}: {error}") from None
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):  # its plugin keeps text, and is asked for bytes
        checker.users = {_bytes(name): _bytes(password) for name, password in checker.users.items()}
    if not CREDENTIALS.intersection(checker.credentialInterfaces):
        raise ConfigError("auth", f"{description}: it verifies nothing that a user identity can have")
    return checker


def _bytes(text: Any) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def tls_for(config: Config) -> Any:
    if config.tls_cert is None:
        return None
    try:
        from storescp.server.tls import TLS  # noqa: PLC0415  # its libraries are optional
    except ImportError as error:
        raise without_tls(error) from None
    return TLS(config.tls_key or config.tls_cert, config.tls_cert, config.tls_ca, config.tls_profile)


def web_for(config: Config, storage: IStorage, reactor: Any) -> Any:
    """The port where a server can be looked at, if one is asked for. Raises ConfigError and `CannotStart`."""
    if config.http is None:
        return None
    try:
        from storescp.program.web import Web  # noqa: PLC0415
    except ImportError as error:
        raise CannotStart(f"{error}; pip install 'storescp[http]'") from None
    return Web(config, storage, reactor)


def has_list(config: Config) -> bool:
    """Whether calling AE titles have to be in a list."""
    return bool(config.allow) or config.allow_file is not None


def verifies(config: Config) -> bool:
    """Whether a user is asked for."""
    return config.users is not None or config.jwt_key is not None or bool(config.auth)


def is_guarded(config: Config, encrypted: bool) -> bool:
    """Whether anything but his user is asked of who comes to an endpoint, on which TLS of ours is spoken or not."""
    return config.require_called_aet or has_list(config) or (encrypted and config.tls_ca is not None)
