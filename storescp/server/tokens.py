"""TokenChecker: a checker of JSON Web Tokens for `twisted.cred`. Needs ``storescp[users]``."""

from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twisted.cred.checkers import ICredentialsChecker
from zope.interface import implementer

from storescp.errors import CannotStart
from storescp.server.files import content
from storescp.server.identity import IJSONWebToken, NotVerified

SKEW = 30  # seconds that the clock of who issues tokens may be off

# What a key of this kind can verify. No shared secrets: whoever can read the file could make tokens.
_ALGORITHMS: dict[type[Any], list[str]] = {
    RSAPublicKey: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    EllipticCurvePublicKey: ["ES256", "ES384", "ES512"],
    Ed25519PublicKey: ["EdDSA"],
}


@implementer(ICredentialsChecker)
class TokenChecker:
    """Verifies JSON Web Tokens with the public key in a PEM file; ``sub`` is the user, and ``exp`` must be there.

    Raises `CannotStart` for what is wrong with the key.
    """

    credentialInterfaces = (IJSONWebToken,)

    def __init__(self, path: str, *, audience: str | None = None, issuer: str | None = None) -> None:
        self._path = path
        self._audience = audience
        self._issuer = issuer
        self.reload()

    def reload(self) -> None:
        """Read the key again. Raises `CannotStart`; then it stays as it was."""
        pem = content(self._path)
        try:
            key = load_pem_public_key(pem)
        except Exception:  # whatever the library makes of its content
            raise CannotStart(f"{self._path}: this is no public key in PEM format") from None
        algorithms = next((names for kind, names in _ALGORITHMS.items() if isinstance(key, kind)), None)
        if algorithms is None:
            raise CannotStart(f"{self._path}: the key is not one of RSA, an elliptic curve or Ed25519")
        self._key: Any = key
        self._algorithms = algorithms

    def requestAvatarId(self, credentials: Any) -> Any:
        try:
            claims = jwt.decode(
                credentials.token,
                self._key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=SKEW,
                options={"require": ["exp", "sub"]},
            )
        except jwt.PyJWTError as error:  # also of an algorithm that is not for this curve
            raise NotVerified(str(error)) from None
        name: str = claims["sub"]
        if not name:
            raise NotVerified("it is for nobody")
        return name
