"""What can be set: every default and every check of a value, in one place."""

from collections.abc import Iterable
from typing import Any

import attrs
from attrs.validators import optional

from storescp.uids import PREFERENCES

VERBOSITIES = ("quiet", "normal", "verbose", "debug")
DURABILITIES = ("full", "file", "none")
ON_DUPLICATE = ("keep", "reject", "overwrite")
TLS_PROFILES = ("bcp195", "bcp195-modified")
LOG_FORMATS = ("text", "json")


class ConfigError(ValueError):
    """A value that cannot be; `field` is the attribute of `Config` that has it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.args[0]}"


def _within(low: int, high: int) -> Any:
    def check(_config: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if not low <= value <= high:
            raise ConfigError(attribute.name, f"must be from {low} to {high}, not {value}")

    return check


def _one_of(values: tuple[str, ...]) -> Any:
    def check(_config: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value not in values:
            raise ConfigError(attribute.name, f"must be one of {', '.join(values)}, not {value}")

    return check


def _positive(_config: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 < value <= MAX_SECONDS:
        raise ConfigError(attribute.name, f"must be more than 0 and at most {MAX_SECONDS} seconds, not {value}")


_positive_or_none: Any = optional(_positive)


def ae_title_fault(value: str) -> str:
    """What is wrong with an AE title; empty where nothing is."""
    # PS3.5 Table 6.2-1, VR AE: the default repertoire without the backslash and control characters.
    if not 1 <= len(value) <= 16:
        return f"must have 1 to 16 characters, not {len(value)}"
    if not value.isascii() or not value.isprintable() or "\\" in value or not value.strip():
        return f"must be printable ASCII without backslashes, and not blank: {value!r}"
    return ""


def _ae_title(_config: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    fault = ae_title_fault(value)
    if fault:
        raise ConfigError(attribute.name, fault)


def _only_with(needed: str, option: str) -> Any:
    """A value that is of no use where the attribute `needed`, which `option` sets, has none."""

    def check(config: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value is not None and getattr(config, needed) is None:
            raise ConfigError(attribute.name, f"is of no use without {option}")

    return check


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


MAX_SECONDS = 86400 * 365  # longer than any connection; keeps sums of clock readings exact


_MAX_BYTES: int = 2**63 - 1
_bytes_or_none: Any = optional(_within(1, _MAX_BYTES))
_MAX_KEPT = 16 * 1024 * 1024  # bytes of one thing that is kept in memory until it is whole
_MAX_CONNECTIONS = 65535


@attrs.frozen(kw_only=True)
class Config:
    """The configuration of one Storage SCP. Immutable; a value out of range raises `ConfigError`.

    Times are seconds and may be fractions; sizes are bytes; None means unlimited.
    """

    port: int | None = attrs.field(default=None, validator=optional(_within(0, 65535)))
    listen: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    verbosity: str = attrs.field(default="normal", validator=_one_of(VERBOSITIES))
    log_format: str = attrs.field(default="text", validator=_one_of(LOG_FORMATS))
    log_associations: bool = False
    http: str | None = None
    ae_title: str = attrs.field(default="STORESCP", validator=_ae_title)
    require_called_aet: bool = False
    # Who may come in; docs/security.rst says how.
    allow: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    allow_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = attrs.field(default=None, validator=_only_with("tls_cert", "--tls-cert"))
    tls_ca: str | None = attrs.field(default=None, validator=_only_with("tls_cert", "--tls-cert"))
    tls_profile: str = attrs.field(default="bcp195", validator=_one_of(TLS_PROFILES))
    users: str | None = None
    auth: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    jwt_key: str | None = None
    jwt_audience: str | None = attrs.field(default=None, validator=_only_with("jwt_key", "--jwt-key"))
    jwt_issuer: str | None = attrs.field(default=None, validator=_only_with("jwt_key", "--jwt-key"))
    insecure_identity: bool = False
    audit_log: str | None = None
    timeout: float | None = attrs.field(default=None, validator=_positive_or_none)
    acse_timeout: float = attrs.field(default=30, validator=_positive)
    dimse_timeout: float | None = attrs.field(default=None, validator=_positive_or_none)
    max_pdu: int = attrs.field(default=16384, validator=_within(4096, 131072))
    ignore: bool = False
    prefer: str = attrs.field(default="uncompressed", validator=_one_of(tuple(PREFERENCES)))
    accept_all_syntaxes: bool = False
    accept_unknown_sop_classes: bool = False
    output_directory: str = "."
    durability: str = attrs.field(default="full", validator=_one_of(DURABILITIES))
    on_duplicate: str = attrs.field(default="keep", validator=_one_of(ON_DUPLICATE))
    min_free: int = attrs.field(default=0, validator=_within(0, _MAX_BYTES))
    storage_timeout: float | None = attrs.field(default=60, validator=_positive_or_none)
    grace: float = attrs.field(default=20, validator=_within(0, MAX_SECONDS))
    # The limits; docs/limits.rst has their reasons.
    max_associations: int = attrs.field(default=256, validator=_within(1, _MAX_CONNECTIONS))
    max_associations_per_peer: int = attrs.field(default=64, validator=_within(1, _MAX_CONNECTIONS))
    max_unassociated: int = attrs.field(default=64, validator=_within(1, 1024))  # all are looked at when it is full
    max_instance_size: int | None = attrs.field(default=8 * 1024**3, validator=_bytes_or_none)
    max_associate_rq: int = attrs.field(default=256 * 1024, validator=_within(4096, _MAX_KEPT))
    max_contexts: int = attrs.field(default=128, validator=_within(1, 128))
    max_transfer_syntaxes: int = attrs.field(default=64, validator=_within(1, 65535))
    max_user_items: int = attrs.field(default=512, validator=_within(1, 65535))
    max_command_set: int = attrs.field(default=64 * 1024, validator=_within(4096, _MAX_KEPT))
