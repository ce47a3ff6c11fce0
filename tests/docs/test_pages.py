"""Every page: what there is to run in it is run, and does what the page says."""

import configparser
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import trustme
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.docs.pages import PAGES, Block, Page
from tests.docs.reading import RUN, PageTestCase
from tests.interop import CT_SMALL_UID
from tests.servers import ROOT

# How a line begins that a reader would type.
_COMMAND = re.compile(
    r"\s*(\$ |\S*bin/|\./|(?:storescp|storescu|twistd|python3?|pip|apt|apt-get|cat|cp|curl|export|git|kill|ls|mkdir"
    r"|openssl|sed|sudo) )"
)
# Blocks that are none of ours.
_BARE = re.compile(
    r"(?m)^(?! *\.\. ).*::$|^ *\.\. (?:code-block::$|(?:code|sourcecode|parsed-literal)::.*)|^ *:code:.*|^ *>>> .*"
)
# All blocks, as loosely as docutils reads them.
_DIRECTIVE = re.compile(r"(?mi)^ *\.\.\s+(?:code-block|code|literalinclude|prompt|sourcecode|parsed-literal)\s*::")
_EXTRAS = re.compile(r"(?:'\.|storescp)\[([\w,]+)\]")
_KNOWN = {"sh", "python", "text", "toml", "json", "yaml", "ini"}
_ALL_TESTS = ".venv/bin/python3 -m twisted.trial tests"

_BRIEFLY = "--rounds 1 --scale 0.05 --tmpfs ."


class CheckoutTestCase(PageTestCase):
    """A reader in a checkout, in which nothing is installed."""

    installs = True

    def setUp(self) -> None:
        super().setUp()
        self.needs("git", "storescu")
        if not (ROOT / ".git").exists():
            raise SkipTest("needs a checkout, not an archive, to know what is in it")
        command = (
            "git",
            f"--git-dir={ROOT}/.git",  # git does not look by itself at what is somebody else's, as in a container
            f"--work-tree={ROOT}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        )
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for path in filter(Path.is_file, map(ROOT.joinpath, listed.rstrip("\0").split("\0"))):
            copy = self.directory / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


class StartTests(CheckoutTestCase):
    page = Page("docs/start.rst")
    walk = True


class ReadmeTests(CheckoutTestCase):
    page = Page("README.rst")
    walk = True
    # The one that runs this test, which .ci/run takes from the page.
    replaced: ClassVar[Mapping[str, str]] = {
        f"python3 -m venv .venv && .venv/bin/pip install '.[test]' && {_ALL_TESTS}": "true"
    }


class SecurityTests(PageTestCase):
    page = Page("docs/security.rst")
    # Of the list in a file; that of --allow is for another network.
    replaced: ClassVar[Mapping[str, str]] = {"network=10.1.2.0/24": "network=127.0.0.0/8"}
    together = (
        ("TLS with a certificate for each device", "TLS with users"),
        ("A network that is looked after", "The audit log"),
    )

    def setUp(self) -> None:
        super().setUp()
        self.needs("openssl", "storescu")

    def done(self, block: Block) -> None:
        """What a device has sent is there, each time anew, and it prints nothing; of one that is refused nothing is."""
        images = self.directory / "images"
        if block.caption == "A device sends":
            self.assertEqual("", self.printed)
            (images / f"CT.{CT_SMALL_UID}").unlink()
        elif block.caption == "A device is refused":
            self.assertEqual([".incoming"], [path.name for path in images.iterdir()])


class ServiceTests(CheckoutTestCase):
    """The reader has a checkout, too, and systemd, which here takes down what it is asked for."""

    page = Page("docs/service.rst")
    installs = False
    together = (
        ("A configuration file", "Before you start it", "Look at it"),
        ("With systemd", "The manual page and completion"),
    )
    replaced: ClassVar[Mapping[str, str]] = {
        "/srv/": "$directory/",  # where the configuration is checked
        **{f"{each}/": f"$directory{each}/" for each in ("/etc", "/opt", "/usr/local", "/var")},
    }

    def setUp(self) -> None:
        super().setUp()
        self.needs("curl")
        (self.directory / "etc/systemd/system").mkdir(parents=True)
        for program in ("systemctl", "useradd"):
            self.add_program(program, f'echo {program} "$@" >> asked')

    def done(self, block: Block) -> None:
        """What was made and enabled is what the unit runs: the program of /opt, with the configuration of /etc."""
        if block.caption != "Install the units":
            return
        unit = (self.directory / "etc/systemd/system/storescp.service").read_text()
        (program, configuration) = re.findall(r"(?m)^ExecStart=(\S+) --config (\S+)$", unit)[0]
        self.assertTrue(Path(self.here(program)).is_file() and Path(self.here(configuration)).is_file())
        home = self.here("/var/lib/storescp")
        self.assertEqual(
            [
                f"useradd --system --home-dir {home} --shell /usr/sbin/nologin storescp",
                "systemctl daemon-reload",
                "systemctl enable --now storescp.socket storescp.service",
            ],
            (self.directory / "asked").read_text().splitlines(),
        )


class ManualTests(PageTestCase):
    page = Page("docs/storescp.rst")
    replaced: ClassVar[Mapping[str, str]] = {"/srv/images": "images"}

    def setUp(self) -> None:
        """The reader has a directory for images, and a certificate with its key."""
        super().setUp()
        (self.directory / "images").mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.directory / "authority.pem")
        certificate = authority.issue_cert("archive.example.org")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.directory / "server.pem")


class PerformanceTests(CheckoutTestCase):
    """What is installed is enough for what is measured; of that, a little, as all would take ten minutes."""

    page = Page("docs/performance.rst")
    walk = True
    replaced: ClassVar[Mapping[str, str]] = {
        "-m benchmarks": f"-m benchmarks {_BRIEFLY} --server none watched",
        "--disk .": "--disk . --scenario start",
    }


class DurabilityTests(PageTestCase):
    """In the environment of these tests, which has what it takes: how to make another is on docs/performance.rst."""

    page = Page("docs/durability.rst")
    replaced: ClassVar[Mapping[str, str]] = {".venv/bin/python -m benchmarks": f"python3 -m benchmarks {_BRIEFLY}"}


class EmbeddingTests(PageTestCase):
    page = Page("docs/embedding.rst")
    walk = True  # its tests import what was written further up

    def setUp(self) -> None:
        super().setUp()
        self.needs("curl", "storescu")


class ComingTests(PageTestCase):
    page = Page("docs/coming.rst")

    def setUp(self) -> None:
        super().setUp()
        self.needs("storescu")


class EveryPageTests(SynchronousTestCase):
    """That nothing in a page is left out."""

    def test_read(self) -> None:
        """Each page with something to run is read by a class of this module, but the one that .ci/run reads."""
        read = {Page("CONTRIBUTING.rst")} | {
            each.page for each in globals().values() if isinstance(each, type) and hasattr(each, "page")
        }
        to_run = {page for page in PAGES if any(block.language in RUN for block in page.blocks())}
        self.assertEqual(set(), to_run - read)

    def test_blocks(self) -> None:
        """A block says its language, so that none that could be run is taken for text."""
        for page in PAGES:
            bare = _BARE.findall(page.text)
            self.assertEqual((page, []), (page, bare))
            self.assertEqual((page, len(_DIRECTIVE.findall(page.text))), (page, len(page.blocks())))
            captions = {each.caption for each in page.blocks() if each.language == "text" and each.file is None}
            self.assertEqual((page, set()), (page, captions - {"", "It prints", "The server prints"}))
            languages = {block.language for block in page.blocks() if block.file is None}
            self.assertEqual((page, set()), (page, languages - _KNOWN))

    def test_captions(self) -> None:
        """What code hosts show has no captions: their programs leave out a block that has one."""
        for page in PAGES:
            if "/" not in page.path:
                self.assertEqual((page, []), (page, re.findall(r"(?m)^ +:caption:.*", page.text)))

    def test_shown(self) -> None:
        """What is only shown is no command."""
        for page in PAGES:
            shown = [each.content for each in page.blocks() if each.language not in RUN and each.file is None]
            commands = [line for text in shown for line in text.splitlines() if _COMMAND.match(line)]
            self.assertEqual((page, []), (page, commands))

    def test_extras(self) -> None:
        """What is asked of pip is there: of an extra that is not, it would only warn."""
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = set(setup["options.extras_require"])
        for page in PAGES:
            asked = {extra for some in _EXTRAS.findall(page.text) for extra in some.split(",")}
            self.assertEqual((page, set()), (page, asked - extras))
