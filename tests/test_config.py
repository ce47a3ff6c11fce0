# mypy: allow-untyped-calls
"""Defaults and bounds of the configuration."""

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config, ConfigError

DEFAULTS = {
    "port": None,
    "listen": (),
    "verbosity": "normal",
    "ae_title": "STORESCP",
    "require_called_aet": False,
    "allow": (),
    "allow_file": None,
    "tls_cert": None,
    "tls_key": None,
    "tls_ca": None,
    "tls_profile": "bcp195",
    "users": None,
    "log_format": "text",
    "log_associations": False,
    "http": None,
    "auth": (),
    "jwt_key": None,
    "jwt_audience": None,
    "jwt_issuer": None,
    "insecure_identity": False,
    "audit_log": None,
    "timeout": None,
    "acse_timeout": 30,
    "dimse_timeout": None,
    "max_pdu": 16384,
    "ignore": False,
    "prefer": "uncompressed",
    "accept_all_syntaxes": False,
    "accept_unknown_sop_classes": False,
    "output_directory": ".",
    "durability": "full",
    "on_duplicate": "keep",
    "min_free": 0,
    "storage_timeout": 60,
    "grace": 20,
    "max_associations": 256,
    "max_associations_per_peer": 64,
    "max_unassociated": 64,
    "max_instance_size": 8589934592,
    "max_associate_rq": 262144,
    "max_contexts": 128,
    "max_transfer_syntaxes": 64,
    "max_user_items": 512,
    "max_command_set": 65536,
}

YEAR = 31536000
SECONDS = "must be more than 0 and at most 31536000 seconds, not "
TITLE_LENGTH = "must have 1 to 16 characters, not "
TITLE_TEXT = "must be printable ASCII without backslashes, and not blank: "

LIMITS = {
    "max_associations": (1, 65535),
    "max_associations_per_peer": (1, 65535),
    "max_unassociated": (1, 1024),
    "max_associate_rq": (4096, 16777216),
    "max_contexts": (1, 128),
    "max_transfer_syntaxes": (1, 65535),
    "max_user_items": (1, 65535),
    "max_command_set": (4096, 16777216),
}

# What is of no use without another option: that, and how it is spelled.
NEEDED = {
    "tls_key": ("tls_cert", "--tls-cert"),
    "tls_ca": ("tls_cert", "--tls-cert"),
    "jwt_audience": ("jwt_key", "--jwt-key"),
    "jwt_issuer": ("jwt_key", "--jwt-key"),
}

ALLOWED: dict[str, tuple[Any, ...]] = {
    "port": (None, 0, 1, 104, 65535),
    "verbosity": ("quiet", "normal", "verbose", "debug"),
    "ae_title": ("A", "0123456789ABCDEF", "store scp", " SPACES ", "!#$%&()*+,-./:;<", "~}|{`_^]["),
    **dict.fromkeys(("allow_file", "tls_cert", "users", "jwt_key", "audit_log"), (None, "a/b c.pem")),
    "tls_profile": ("bcp195", "bcp195-modified"),
    "timeout": (None, 1, 0.001, YEAR),
    "acse_timeout": (1, 0.001, YEAR),
    "dimse_timeout": (None, 1, 0.001, YEAR),
    "max_pdu": (4096, 4097, 131072),
    "prefer": ("uncompressed", "little", "big", "implicit"),
    "durability": ("full", "file", "none"),
    "on_duplicate": ("keep", "reject", "overwrite"),
    "min_free": (0, 1, 10**12, 2**63 - 1),
    "storage_timeout": (None, 1, 0.001, YEAR),
    "grace": (0, 0.001, YEAR),
    "max_instance_size": (None, 1, 2**63 - 1),
    **LIMITS,
}

REFUSED: dict[str, dict[Any, str]] = {
    "port": {-1: "must be from 0 to 65535, not -1", 65536: "must be from 0 to 65535, not 65536"},
    "verbosity": {
        "loud": "must be one of quiet, normal, verbose, debug, not loud",
        "": "must be one of quiet, normal, verbose, debug, not ",
    },
    "ae_title": {
        "": TITLE_LENGTH + "0",
        "0123456789ABCDEFG": TITLE_LENGTH + "17",
        " ": TITLE_TEXT + "' '",
        " " * 16: TITLE_TEXT + "'                '",
        "A\\B": TITLE_TEXT + r"'A\\B'",
        "A\nB": TITLE_TEXT + r"'A\nB'",
        "A\0": TITLE_TEXT + r"'A\x00'",
        "A\x1b": TITLE_TEXT + r"'A\x1b'",
        "A\x7f": TITLE_TEXT + r"'A\x7f'",
        "CAF\xc9": TITLE_TEXT + "'CAF\xc9'",
    },
    **{
        field: {
            0: SECONDS + "0",
            -1: SECONDS + "-1",
            YEAR + 1: SECONDS + "31536001",
            float("inf"): SECONDS + "inf",
            float("nan"): SECONDS + "nan",
        }
        for field in ("timeout", "acse_timeout", "dimse_timeout", "storage_timeout")
    },
    "max_pdu": {
        0: "must be from 4096 to 131072, not 0",
        100: "must be from 4096 to 131072, not 100",
        4095: "must be from 4096 to 131072, not 4095",
        131073: "must be from 4096 to 131072, not 131073",
    },
    "tls_profile": {
        "bcp196": "must be one of bcp195, bcp195-modified, not bcp196",
        "": "must be one of bcp195, bcp195-modified, not ",
    },
    "durability": {"most": "must be one of full, file, none, not most"},
    "on_duplicate": {"": "must be one of keep, reject, overwrite, not "},
    "min_free": {
        -1: "must be from 0 to 9223372036854775807, not -1",
        2**63: "must be from 0 to 9223372036854775807, not 9223372036854775808",
    },
    "grace": {
        -1: "must be from 0 to 31536000, not -1",
        float("nan"): "must be from 0 to 31536000, not nan",
        YEAR + 1: "must be from 0 to 31536000, not 31536001",
    },
    "max_instance_size": {
        0: "must be from 1 to 9223372036854775807, not 0",
        2**63: "must be from 1 to 9223372036854775807, not 9223372036854775808",
    },
    **{
        field: {value: f"must be from {low} to {high}, not {value}" for value in (-1, low - 1, high + 1)}
        for field, (low, high) in LIMITS.items()
    },
    "prefer": {"jpeg": "must be one of uncompressed, little, big, implicit, not jpeg"},
}


class ConfigTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without any option the configuration is the one the documentation promises."""
        self.assertEqual(DEFAULTS, attrs.asdict(Config()))

    def test_allowed_values(self) -> None:
        """Every value within its bounds, the bounds among them, is taken as it is, and changes nothing else."""
        for field, values in ALLOWED.items():
            for value in values:
                self.assertEqual({**DEFAULTS, field: value}, attrs.asdict(Config(**{field: value})))

    def test_refused_values(self) -> None:
        """Every value out of its bounds is refused by an error that names the field, the bounds and the value."""
        for field, refusals in REFUSED.items():
            for value, text in refusals.items():
                error = self.assertRaises(ConfigError, Config, **{field: value})
                self.assertEqual((field, f"{field}: {text}"), (error.field, str(error)), repr(value))

    def test_error_of_the_caller(self) -> None:
        """A refused value is a ValueError: an embedder need not know our errors."""
        self.assertRaises(ValueError, Config, max_pdu=100)

    def test_switches(self) -> None:
        """What is off by default can be switched on."""
        for field in (
            *("require_called_aet", "ignore", "accept_all_syntaxes", "accept_unknown_sop_classes"),
            "insecure_identity",
        ):
            options: dict[str, Any] = {field: True}
            self.assertEqual({**DEFAULTS, **options}, attrs.asdict(Config(**options)))

    def test_listen(self) -> None:
        """Endpoints to listen on are kept as a tuple, whatever sequence they came in."""
        endpoints: Any = ["tcp:104", "tcp6:104"]
        self.assertEqual(("tcp:104", "tcp6:104"), Config(listen=endpoints).listen)

    def test_listed(self) -> None:
        """So are those who may come in, and the plugins that know them; one alone need not be in a list."""
        for field in ("listen", "allow", "auth"):
            for given, kept in (("CT1", ("CT1",)), (["CT1", "CT2"], ("CT1", "CT2")), (iter(["CT1"]), ("CT1",))):
                options: dict[str, Any] = {field: given}
                self.assertEqual({**DEFAULTS, field: kept}, attrs.asdict(Config(**options)))

    def test_needed(self) -> None:
        """What is of no use without another option is taken with it, and refused without it by both their names."""
        for field, (needed, option) in NEEDED.items():
            options: dict[str, Any] = {field: "some", needed: "other"}
            self.assertEqual({**DEFAULTS, **options}, attrs.asdict(Config(**options)))
            del options[needed]
            error = self.assertRaises(ConfigError, Config, **options)
            self.assertEqual((field, f"{field}: is of no use without {option}"), (error.field, str(error)))

    def test_frozen(self) -> None:
        """A configuration does not change once it is made."""
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, Config(), "port", 104)

    def test_evolved(self) -> None:
        """A configuration made from another is checked too."""
        error = self.assertRaises(ConfigError, attrs.evolve, Config(), port=70000)
        self.assertEqual("port: must be from 0 to 65535, not 70000", str(error))
