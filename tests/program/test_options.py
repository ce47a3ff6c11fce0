"""The two command lines: what every spelling means, and what a bad one gets."""

import io
import os
import sys
from itertools import chain
from typing import Any
from unittest import mock

import attrs
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from storescp.config import Config
from storescp.program import command_line
from storescp.program.command_line import make_parser, parse
from storescp.program.main import run
from storescp.program.options import OPTIONS, UsageError
from storescp.program.tap import Options
from storescp.uids import VERSION
from tests.program import make_directory, use_reactor
from tests.program.test_gate import not_installed
from tests.strategies import PROPERTY

# Each option without a value: its spellings, and what it sets.
FLAGS: dict[tuple[str, ...], dict[str, Any]] = {
    ("-q", "--quiet"): {"verbosity": "quiet"},
    ("-v", "--verbose"): {"verbosity": "verbose"},
    ("-d", "--debug"): {"verbosity": "debug"},
    ("--log-associations",): {"log_associations": True},
    ("--require-called-aet",): {"require_called_aet": True},
    ("--ignore",): {"ignore": True},
    ("-x=", "--prefer-uncompr"): {"prefer": "uncompressed"},
    ("-xe", "--prefer-little"): {"prefer": "little"},
    ("-xb", "--prefer-big"): {"prefer": "big"},
    ("-xi", "--implicit"): {"prefer": "implicit"},
    ("--accept-all-syntaxes",): {"accept_all_syntaxes": True},
    ("--accept-unknown-sop-classes",): {"accept_unknown_sop_classes": True},
    ("--insecure-identity",): {"insecure_identity": True},
}
# Each option with a value: its spellings, a value as it is typed, and what it sets.
VALUES: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {
    ("--log-format",): ("json", {"log_format": "json"}),
    ("-aet", "--aetitle"): ("MY SCP", {"ae_title": "MY SCP"}),
    ("-to", "--timeout"): ("5", {"timeout": 5}),
    ("-ta", "--acse-timeout"): ("6", {"acse_timeout": 6}),
    ("-td", "--dimse-timeout"): ("7", {"dimse_timeout": 7}),
    ("-pdu", "--max-pdu"): ("65536", {"max_pdu": 65536}),
    ("-od", "--output-directory"): ("a/b c", {"output_directory": "a/b c"}),
    ("--durability",): ("file", {"durability": "file"}),
    ("--on-duplicate",): ("reject", {"on_duplicate": "reject"}),
    ("--min-free",): ("10000000000", {"min_free": 10_000_000_000}),
    ("--storage-timeout",): ("8", {"storage_timeout": 8}),
    ("--grace",): ("0", {"grace": 0}),
    ("--max-associations",): ("300", {"max_associations": 300}),
    ("--max-associations-per-peer",): ("5", {"max_associations_per_peer": 5}),
    ("--max-unassociated",): ("6", {"max_unassociated": 6}),
    ("--max-instance-size",): ("10000000000", {"max_instance_size": 10_000_000_000}),
    ("--max-associate-rq",): ("65536", {"max_associate_rq": 65536}),
    ("--max-contexts",): ("7", {"max_contexts": 7}),
    ("--max-transfer-syntaxes",): ("8", {"max_transfer_syntaxes": 8}),
    ("--max-user-items",): ("9", {"max_user_items": 9}),
    ("--max-command-set",): ("4096", {"max_command_set": 4096}),
    ("--allow-file",): ("etc/a b", {"allow_file": "etc/a b"}),
    ("--users",): ("users", {"users": "users"}),
    ("--jwt-key",): ("jwt.pem", {"jwt_key": "jwt.pem"}),
    ("--audit-log",): ("audit.json", {"audit_log": "audit.json"}),
    ("--tls-cert",): ("cert.pem", {"tls_cert": "cert.pem"}),
    ("--tls-profile",): ("bcp195-modified", {"tls_profile": "bcp195-modified"}),
    ("--http",): ("8080", {"http": "8080"}),
}
# Each option that is of no use without another one: what it sets, and that other one.
DEPENDENT = {
    "--tls-key": ("tls_key", "--tls-cert", "tls_cert"),
    "--tls-ca": ("tls_ca", "--tls-cert", "tls_cert"),
    "--jwt-audience": ("jwt_audience", "--jwt-key", "jwt_key"),
    "--jwt-issuer": ("jwt_issuer", "--jwt-key", "jwt_key"),
}
# Each option that may be given more than once, and what it sets.
REPEATED = {"--listen": "listen", "--allow": "allow", "--auth": "auth"}
SPELLINGS = [
    *(([flag], settings) for flags, settings in FLAGS.items() for flag in flags),
    *(([flag, value], settings) for flags, (value, settings) in VALUES.items() for flag in flags),
]
OTHERS = ("--port", "--help", "--version", "--hash-passcode", "--config", "--check", "--conformance")
EVERY_FLAG = [flag for flags in (*FLAGS, *VALUES, DEPENDENT, REPEATED, OTHERS) for flag in flags]

NO_PORT = "give one port to listen on, as in '{}', or --listen, not both"
SECONDS = "must be more than 0 and at most 31536000 seconds, not "

# What follows "storescp: error: " for a line that has a port.
REFUSED = {
    ("--bogus",): "unrecognized arguments: --bogus",
    ("-z",): "unrecognized arguments: -z",
    ("11113",): "unrecognized arguments: 11113",
    ("-aet",): "argument -aet/--aetitle: expected one argument",
    ("-od", "-v"): "argument -od/--output-directory: expected one argument",
    ("-to", "soon"): "argument -to/--timeout: invalid int value: 'soon'",
    ("--timeout", "1.5"): "argument -to/--timeout: invalid int value: '1.5'",
    ("-to", "0"): "argument -to/--timeout: " + SECONDS + "0",
    ("-ta", "0"): "argument -ta/--acse-timeout: " + SECONDS + "0",
    ("-ta", "-1"): "argument -ta/--acse-timeout: " + SECONDS + "-1",
    ("-td", "31536001"): "argument -td/--dimse-timeout: " + SECONDS + "31536001",
    ("--durability", "most"): "argument --durability: must be one of full, file, none, not most",
    ("--on-duplicate", "skip"): "argument --on-duplicate: must be one of keep, reject, overwrite, not skip",
    ("--min-free", "10G"): "argument --min-free: invalid int value: '10G'",
    ("--storage-timeout", "0"): "argument --storage-timeout: " + SECONDS + "0",
    ("--grace", "-1"): "argument --grace: must be from 0 to 31536000, not -1",
    ("--max-associations", "0"): "argument --max-associations: must be from 1 to 65535, not 0",
    ("--max-associations-per-peer", "0"): "argument --max-associations-per-peer: must be from 1 to 65535, not 0",
    ("--max-unassociated", "65536"): "argument --max-unassociated: must be from 1 to 1024, not 65536",
    ("--max-unassociated", "none"): "argument --max-unassociated: invalid int value: 'none'",
    ("--max-instance-size", "-1"): "argument --max-instance-size: must be from 1 to 9223372036854775807, not -1",
    ("--max-instance-size", "8G"): "argument --max-instance-size: invalid number value: '8G'",
    ("--max-associate-rq", "4095"): "argument --max-associate-rq: must be from 4096 to 16777216, not 4095",
    ("--max-contexts", "129"): "argument --max-contexts: must be from 1 to 128, not 129",
    ("--max-transfer-syntaxes", "0"): "argument --max-transfer-syntaxes: must be from 1 to 65535, not 0",
    ("--max-user-items", "-5"): "argument --max-user-items: must be from 1 to 65535, not -5",
    ("--max-command-set", "16777217"): "argument --max-command-set: must be from 4096 to 16777216, not 16777217",
    ("--tls-profile", "bcp196"): "argument --tls-profile: must be one of bcp195, bcp195-modified, not bcp196",
    ("--log-format", "xml"): "argument --log-format: must be one of text, json, not xml",
    ("--check=1",): "argument --check: ignored explicit argument '1'",
    ("--conformance=1",): "argument --conformance: ignored explicit argument '1'",
    ("--check", "--conformance"): "argument --conformance: not allowed with argument --check",
    ("--conformance", "--check"): "argument --check: not allowed with argument --conformance",
    ("--config",): "argument --config: expected one argument",
    ("--tls-key", "key.pem"): "argument --tls-key: is of no use without --tls-cert",
    ("--tls-ca", "ca.pem"): "argument --tls-ca: is of no use without --tls-cert",
    ("--jwt-audience", "pacs"): "argument --jwt-audience: is of no use without --jwt-key",
    ("--jwt-issuer", "idp"): "argument --jwt-issuer: is of no use without --jwt-key",
    ("--allow",): "argument --allow: expected one argument",
    ("-pdu", "100"): "argument -pdu/--max-pdu: must be from 4096 to 131072, not 100",
    ("-pdu", "4095"): "argument -pdu/--max-pdu: must be from 4096 to 131072, not 4095",
    ("--max-pdu", "131073"): "argument -pdu/--max-pdu: must be from 4096 to 131072, not 131073",
    ("-aet", "01234567890123456"): "argument -aet/--aetitle: must have 1 to 16 characters, not 17",
    ("-aet", ""): "argument -aet/--aetitle: must have 1 to 16 characters, not 0",
    ("-aet", "A\\B"): "argument -aet/--aetitle: must be printable ASCII without backslashes, and not blank: 'A\\\\B'",
}
REFUSED_PORTS = {
    ("65536",): "argument port: must be from 0 to 65535, not 65536",
    ("-1",): "argument port: must be from 0 to 65535, not -1",
    ("dicom",): "argument port: invalid int value: 'dicom'",
    ("0x10",): "argument port: invalid int value: '0x10'",
    ("--port", "dicom"): "argument --port: invalid int value: 'dicom'",
    ("--port", "65536"): "argument port: must be from 0 to 65535, not 65536",
}
NOT_ONE_PORT: tuple[tuple[str, ...], ...] = (
    (),
    ("-v", "-od", "11112"),
    ("11112", "--port", "11113"),
    ("11112", "--listen", "tcp:0"),
)


def script(*line: str) -> Config:
    return parse(make_parser("storescp"), line).config


def twistd(*line: str) -> Config:
    options = Options()
    options.parseOptions(line)
    return options.asked.config


def both(case: SynchronousTestCase, *line: str) -> dict[str, Any]:
    """What `line` sets to another value than the default: the same from both command lines."""
    config = script(*line)
    case.assertEqual(config, twistd(*line))
    defaults = attrs.asdict(Config())
    return {field: value for field, value in attrs.asdict(config).items() if value != defaults[field]}


class SpellingTests(SynchronousTestCase):
    def test_none_is_missing(self) -> None:
        """These tests know every option of the table by each of its spellings, and what it sets."""
        known = {flags: tuple(settings) for flags, settings in FLAGS.items()}
        known |= {flags: tuple(settings) for flags, (_, settings) in VALUES.items()}
        known |= {(flag,): (field,) for flag, (field, _, _) in DEPENDENT.items()}
        known |= {(flag,): (field,) for flag, field in REPEATED.items()}
        known["--port",] = ("port",)
        self.assertEqual(known, {option.flags: (option.field,) for option in OPTIONS})

    def test_instead(self) -> None:
        """What is asked for instead of a server changes nothing else of what is asked for, and stands beside it."""
        for instead in ("check", "conformance"):
            for line in ((f"--{instead}", "1", "-v"), ("1", "-v", f"--{instead}")):
                asked = parse(make_parser("storescp"), line)
                self.assertEqual((instead, Config(port=1, verbosity="verbose")), (asked.instead, asked.config))
        self.assertIsNone(parse(make_parser("storescp"), ("1",)).instead)

    def test_without_port(self) -> None:
        """The statement needs no port, as nobody listens; two are too many for it, too."""
        self.assertEqual({"verbosity": "verbose"}, both(self, "--conformance", "-v"))
        for line in NOT_ONE_PORT[2:]:
            error = self.assertRaises(UsageError, script, "--conformance", *line)
            self.assertEqual(NO_PORT.format("storescp 11112"), str(error))

    def test_every_spelling(self) -> None:
        """Each spelling sets what it says and nothing else, before and after the port."""
        for words, settings in SPELLINGS:
            expected = {"port": 11112, **settings, "prefer": settings.get("prefer", "uncompressed")}
            if expected["prefer"] == "uncompressed":
                del expected["prefer"]
            self.assertEqual(expected, both(self, *words, "11112"))
            self.assertEqual(expected, both(self, "11112", *words))

    def test_defaults(self) -> None:
        """A port alone leaves all else at its default."""
        self.assertEqual({"port": 11112}, both(self, "11112"))

    def test_no_limit(self) -> None:
        """0 is no limit of an instance's size; spelled again it is what was said last."""
        self.assertEqual({"port": 1, "max_instance_size": None}, both(self, "--max-instance-size", "0", "1"))
        self.assertEqual({"port": 1, "max_instance_size": None}, both(self, "--max-instance-size=0", "1"))
        line = ("--max-instance-size=0", "1", "--max-instance-size=23")
        self.assertEqual({"port": 1, "max_instance_size": 23}, both(self, *line))

    def test_ports(self) -> None:
        """The port may be an option too, as twistd's users write it; 0 is one."""
        self.assertEqual({"port": 11112}, both(self, "--port", "11112"))
        self.assertEqual({"port": 11112}, both(self, "--port=11112"))
        self.assertEqual({"port": 0}, both(self, "0"))
        self.assertEqual({"port": 65535}, both(self, "65535"))

    def test_endpoints(self) -> None:
        """Endpoints take the port's place, as many as there are, in their order."""
        line = ("--listen", "tcp6:104", "-v", "--listen", "ssl:2762:privateKey=key.pem:certKey=cert.pem")
        self.assertEqual(
            {"listen": ("tcp6:104", "ssl:2762:privateKey=key.pem:certKey=cert.pem"), "verbosity": "verbose"},
            both(self, *line),
        )

    def test_repeated(self) -> None:
        """What may be given more than once is kept in its order, and one option's values apart from another's."""
        line = ("--allow", "B@10.1.2.0/24", "--auth", "file:a", "--allow=A", "1", "--auth", "anonymous", "--allow", "B")
        expected = {"port": 1, "allow": ("B@10.1.2.0/24", "A", "B"), "auth": ("file:a", "anonymous")}
        self.assertEqual(expected, both(self, *line))

    def test_dependent(self) -> None:
        """What is of no use alone is taken with what it needs, whichever comes first."""
        for flag, (field, other, needed) in DEPENDENT.items():
            expected = {"port": 1, field: "one", needed: "two"}
            self.assertEqual(expected, both(self, flag, "one", other, "two", "1"))
            self.assertEqual(expected, both(self, "1", f"{other}=two", f"{flag}=one"))

    def test_flags_in_one_word(self) -> None:
        """Flags of one letter may share a dash; the rightmost still wins."""
        self.assertEqual({"port": 1, "verbosity": "verbose"}, both(self, "-dv", "1"))
        self.assertEqual({"port": 1, "verbosity": "debug"}, both(self, "-vd", "1"))

    def test_end_of_options(self) -> None:
        """After -- there are no options."""
        self.assertEqual({"port": 1, "verbosity": "verbose"}, both(self, "-v", "--", "1"))

    def test_prefer_uncompressed_is_no_assignment(self) -> None:
        """-x= is a whole word: it takes no value, and overrules what stands before it."""
        self.assertEqual({"port": 1}, both(self, "-xb", "-x=", "1"))
        self.assertEqual({"port": 1, "prefer": "big"}, both(self, "-x=", "-xb", "1"))

    @PROPERTY
    @given(st.lists(st.sampled_from(SPELLINGS), max_size=8), st.data())
    def test_any_order(self, chosen: list[tuple[list[str], dict[str, Any]]], data: st.DataObject) -> None:
        """Options stand in any order, the port anywhere between them; the last of rivals wins."""
        place = data.draw(st.integers(0, len(chosen)))
        words = [words for words, _ in chosen]
        line = list(chain(*words[:place], ["11112"], *words[place:]))
        expected = Config(port=11112)
        for _, settings in chosen:
            expected = attrs.evolve(expected, **settings)
        self.assertEqual([expected, expected], [script(*line), twistd(*line)])


class RefusalTests(SynchronousTestCase):
    def assert_refused(self, message: str, *line: str) -> None:
        """Both command lines refuse `line` with this message, which is one line."""
        self.assertEqual(message.format("storescp 11112"), str(self.assertRaises(UsageError, script, *line)))
        error = self.assertRaises(usage.UsageError, twistd, *line)
        self.assertEqual(message.format("twistd [options] storescp 11112"), str(error))
        self.assertNotIn("\n", message)

    def test_bad_values(self) -> None:
        """A value that cannot be is refused by one line that names the option, the bounds and the value."""
        for words, message in REFUSED.items():
            self.assert_refused(message, "11112", *words)

    def test_bad_ports(self) -> None:
        """A port that is none is refused by name."""
        for words, message in REFUSED_PORTS.items():
            self.assert_refused(message, *words)

    def test_one_port(self) -> None:
        """No port, or more than one place to listen that exclude each other, is refused with an example."""
        for line in NOT_ONE_PORT:
            self.assert_refused(NO_PORT, *line)

    def test_no_abbreviations(self) -> None:
        """No beginning of an option stands for it, with a value or without."""
        beginnings = {flag[:end] for flag in EVERY_FLAG for end in range(2, len(flag))}
        for beginning in sorted(beginnings.difference(EVERY_FLAG, ["--"])):
            self.assert_refused(f"unrecognized arguments: {beginning}", beginning, "11112")
            self.assert_refused(f"unrecognized arguments: {beginning}=4096", f"{beginning}=4096", "11112")

    def test_glued_values(self) -> None:
        """A value does not stick to a short option: -pdu4096 is no word of this language."""
        for word in ("-pdu4096", "-aetSCP", "-od.", "-to5", "-xx", "-x=1"):
            self.assert_refused(f"unrecognized arguments: {word}", word, "11112")

    def test_line_feeds(self) -> None:
        """What is typed cannot make a second line of the message."""
        for words in (["--bo\ngus"], ["-aet", "A\nB"], ["-to", "1\n2"]):
            self.assertNotIn("\n", str(self.assertRaises(UsageError, script, "11112", *words)))


class ExitCodeTestCase(SynchronousTestCase):
    """The command within this process, where it comes to nothing before a reactor runs."""

    def run_line(self, *line: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        stdout, stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", stdout)
        self.patch(sys, "stderr", stderr)
        use_reactor(self, MemoryReactorClock())
        try:
            code = run(line)
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        return code, stdout.getvalue(), stderr.getvalue()

    def assert_error(self, code: int, message: str, *line: str) -> None:
        self.assertEqual((code, "", f"storescp: error: {message}\n"), self.run_line(*line))


class ExitCodeTests(ExitCodeTestCase):
    def test_usage(self) -> None:
        """A line that cannot be understood is answered in one line and exit code 2."""
        for words, message in REFUSED.items():
            self.assert_error(2, message, "11112", *words)
        self.assert_error(2, NO_PORT.format("storescp 11112"))

    def test_endpoint(self) -> None:
        """So is an endpoint that cannot be understood."""
        errors = {
            "carrier-pigeon:1": "Unknown endpoint type: 'carrier-pigeon'",
            "tcp:dicom": "invalid literal for int() with base 10: 'dicom'",
            "tls:tcp:2762": "it needs --tls-cert",
        }
        for endpoint, message in errors.items():
            self.assert_error(2, f"argument --listen: {endpoint}: {message}", "--listen", endpoint)

    def test_allow(self) -> None:
        """So is somebody allowed who cannot be, and a plugin that is not there."""
        self.assert_error(
            2,
            "argument --allow: CT1@10.1.2.3/24: 10.1.2.3/24 is neither the network 10.1.2.0/24 nor an address",
            *("0", "--ignore", "--allow", "CT1@10.1.2.3/24"),
        )
        self.assert_error(
            2,
            "argument --auth: nobody: there is no such plugin (twistd ftp --help-auth)",
            *("0", "--ignore", "--auth", "nobody"),
        )

    def test_tls_nowhere(self) -> None:
        """So is a certificate for endpoints that all do without TLS."""
        self.assert_error(
            2,
            "argument --listen: with --tls-cert one of them must begin with tls:, such as tls:tcp:2762",
            *("--listen", "tcp:104", "--listen", "tcp6:104", "--ignore", "--tls-cert", "cert.pem"),
        )

    def test_output_directory(self) -> None:
        """A directory that is not there, or is none, is answered in one line and exit code 1."""
        directory = make_directory(self)
        missing, file = os.path.join(directory, "missing"), os.path.join(directory, "file")
        with open(file, "wb"):
            pass
        self.assert_error(1, f"output directory {missing}: does not exist", "0", "-od", missing)
        self.assert_error(1, f"output directory {file}: is not a directory", "0", "-od", file)
        self.assertEqual(["file"], os.listdir(directory))

    def test_quiet(self) -> None:
        """-q silences the log, never a failure to start."""
        self.assert_error(2, "unrecognized arguments: --bogus", "-q", "11112", "--bogus")

    def test_command_line_of_the_process(self) -> None:
        """Without arguments of its own it reads those of the process."""
        self.patch(sys, "argv", ["anything", "--bogus", "11112"])
        self.patch(sys, "stderr", io.StringIO())
        self.assertEqual(2, run())

    def test_version(self) -> None:
        """--version needs no port."""
        self.assertEqual((0, f"storescp {VERSION}\n", ""), self.run_line("--version"))

    def test_help(self) -> None:
        """-h and --help need no port and name every spelling."""
        code, text, errors = self.run_line("--help")
        self.assertEqual((0, ""), (code, errors))
        self.assertEqual((0, text, ""), self.run_line("-h"))
        self.assertEqual("usage: storescp [options] port", text.splitlines()[0])
        words = text.replace(",", " ").split()
        self.assertEqual([], [flag for flag in [*EVERY_FLAG, "-h", "port"] if flag not in words])

    def test_defaults_in_help(self) -> None:
        """The help says of each limit where it lies when nothing is said."""
        _, text, _ = self.run_line("--help")
        words = " ".join(text.split("\nLimits:\n")[1].split("\n\n")[0].split())
        defaults = {
            flag: words.split(f"{flag} [n]umber ")[1].split("(default: ")[1].split(")")[0]
            for (flag, *_) in VALUES
            if flag.startswith("--max-")
        }
        self.assertEqual(
            {
                "--max-associations": "256",
                "--max-associations-per-peer": "64",
                "--max-unassociated": "64",
                "--max-instance-size": "8589934592",
                "--max-associate-rq": "262144",
                "--max-contexts": "128",
                "--max-transfer-syntaxes": "64",
                "--max-user-items": "512",
                "--max-command-set": "65536",
            },
            defaults,
        )

    def test_help_under_twistd(self) -> None:
        """What twistd prints about the options is the same text but for the name."""
        _, text, _ = self.run_line("--help")
        self.assertEqual(text.replace("usage: storescp", "usage: twistd [options] storescp"), str(Options()))


class HashPasscodeTests(ExitCodeTestCase):
    """``--hash-passcode``: a line of a file of users."""

    BAD_NAME = "a user's name has no colon, no control character, no space around it and no # before it"

    def type(self, text: str) -> None:
        self.patch(sys, "stdin", io.StringIO(text))

    def assert_line(self, passcode: str, line: str) -> None:
        """It is that of the user Anna with this passcode."""
        name, _, hashed = line.partition(":")
        self.assertEqual(("Anna B", "$argon2id$"), (name, hashed[:10]))
        self.assertEqual("\n", hashed[-1])
        self.assertTrue(PasswordHasher().verify(hashed[:-1], passcode))

    def test_line(self) -> None:
        """It prints the name and the hash of what comes in a line of standard input, and needs no port."""
        for line in (("--hash-passcode", "Anna B"), ("--hash-passcode=Anna B", "11112", "-v")):
            self.type(" s:cret \nmore\n")
            code, text, errors = self.run_line(*line)
            self.assertEqual((0, ""), (code, errors))
            self.assert_line(" s:cret ", text)

    def test_salt(self) -> None:
        """The same passcode never has the same hash."""
        texts = set()
        for _ in range(2):
            self.type("secret\n")
            texts.add(self.run_line("--hash-passcode", "Anna B")[1])
        self.assertEqual(2, len(texts))

    def test_terminal(self) -> None:
        """On a terminal it asks twice, and what is typed is not shown."""
        asked: list[str] = []

        def getpass(prompt: str) -> str:
            asked.append(prompt)
            return "secret"

        self.type("something else\n")
        self.patch(sys.stdin, "isatty", lambda: True)
        self.patch(command_line, "getpass", getpass)
        _, text, _ = self.run_line("--hash-passcode", "Anna B")
        self.assertEqual(["Passcode of Anna B: ", "The same again: "], asked)
        self.assert_line("secret", text)

    def test_mistyped(self) -> None:
        """What is not typed the same again is refused."""
        typed = iter(["secret", "secrte"])
        self.type("")
        self.patch(sys.stdin, "isatty", lambda: True)
        self.patch(command_line, "getpass", lambda _prompt: next(typed))
        self.assert_error(2, "the passcodes differ", "--hash-passcode", "Anna B")

    def test_given_up(self) -> None:
        """Who gives up at the prompt gets one line, too."""
        for error in (EOFError, KeyboardInterrupt):
            self.type("")
            self.patch(sys.stdin, "isatty", lambda: True)
            self.patch(command_line, "getpass", mock.Mock(side_effect=error))
            self.assert_error(2, "no passcode was given", "--hash-passcode", "Anna B")

    def test_other_ends(self) -> None:
        """The end of a line is no part of a passcode, on whatever system it was written."""
        self.type("secret\r\n")
        self.assert_line("secret", self.run_line("--hash-passcode", "Anna B")[1])

    def test_empty(self) -> None:
        """So is a passcode that is none, or does not come."""
        for text in ("\n", ""):
            self.type(text)
            self.assert_error(2, "a passcode must not be empty", "--hash-passcode", "Anna B")

    def test_twistd(self) -> None:
        """twistd's command line answers it, too."""
        self.type("secret\n")
        self.patch(sys, "stdout", stdout := io.StringIO())
        end = self.assertRaises(SystemExit, twistd, "--hash-passcode", "Anna B")
        self.assertEqual(0, end.code)
        self.assert_line("secret", stdout.getvalue())

    def test_bad_names(self) -> None:
        """A name that cannot stand in such a line is refused."""
        for name in ("", "a:b", " a", "a ", "#a", "a\nb", "a\tb", "\x7f"):
            self.type("secret\n")
            self.assert_error(2, self.BAD_NAME, f"--hash-passcode={name}")

    def test_no_name(self) -> None:
        """So is none."""
        self.assert_error(2, "argument --hash-passcode: expected one argument", "--hash-passcode")

    def test_not_installed(self) -> None:
        """Where its library is not there it says how to get it."""
        with not_installed("argon2", "storescp.server.users"):
            self.assert_error(
                2, "import of argon2 halted; None in sys.modules; pip install 'storescp[users]'", "--hash-passcode=Anna"
            )
