"""The page in a real browser: what it shows, to whom, and what it does when its server goes."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.senders import NotAccepted, Sender, c_store, data_set_with
from tests.servers import LOOPBACK, ROOT, Server, ServerTestCase, wait_until
from tests.watch.browsers import FILES, PATIENCE, Browser, Site

Snapshot = dict[str, Any]

NOW = 1764284400.1  # 2025-11-27 23:00:00 UTC
QUIET = [0] * 300
DASH = "\N{EN DASH}"  # what is not known
HOSTILE = "<img src=x onerror=document.title='taken'>"
SOON = 8.0  # seconds: less than after which a silent server is lost
SCREENSHOTS = ROOT / "build" / "screenshots"

_WEB = re.compile(r"storescp: http on port (\d+)\n")

CT1 = {
    "id": "3f9a2c-17",
    "peer": "10.1.2.3:50312",
    "calling": "CT1",
    "called": "STORESCP",
    "since": NOW - 9000,
    "instances": 1212,
    "bytes": 630_000_000,
    "failed": 0,
}
MR2 = {**CT1, "id": "3f9a2c-18", "calling": "", "peer": "[::1]:1312", "since": NOW - 125, "bytes": 999, "failed": 2}

STORED = {
    "time": NOW - 1,
    "calling": "CT1",
    "sop_class": "CT Image Storage",
    "status": 0,
    "words": "Success",
    "bytes": 524288,
    "receive": 0.0031,
    "sync": 1.5,
}
FULL = {**STORED, "status": 0xA700, "words": "Out of resources", "sync": None}
CUT_OFF = {**FULL, "status": None, "words": "Cut off", "receive": None}
COERCED = {**STORED, "time": NOW - 90000, "status": 0xB000, "words": "Coercion of data elements", "receive": 75.0}


def snapshot(**parts: Any) -> Snapshot:
    """What a busy server says, but for `parts`."""
    return {
        "version": "0.1.0",
        "ae_title": "STORESCP",
        "now": NOW,
        "uptime": 93784.5,
        "listening": ["127.0.0.1:11112", "[::]:2762"],
        "ready": True,
        "associations": {
            "open": 2,
            "accepted": 1420,
            "rejected": 2,
            "aborted": 1,
            "refused": 4,
            "list": [CT1, MR2],
        },
        "instances": {
            "stored": 48711,
            "failed": 3,
            "bytes": 23_456_789_012,
            "waiting": 2,
            "last": [STORED, FULL, CUT_OFF, COERCED],
        },
        "rate": {
            "instances": [0] * 100 + [40] * 100 + [20] * 100,
            "bytes": [0] * 100 + [20_000_000] * 100 + [10_000_000] * 100,
        },
        "disk": {"directory": "/srv/images", "free": 4.1e11, "total": 1e12, "temporary": 2, "age": 1.2},
        "errors": [
            {
                "time": NOW - 60,
                "kind": "failed",
                "peer": "10.1.2.3:50312",
                "calling": "CT1",
                "text": "Out of resources",
            },
            {"time": NOW - 90000, "kind": "refused", "peer": "10.9.9.9:4242", "calling": "", "text": "no TLS"},
        ],
        **parts,
    }


EMPTY = snapshot(
    uptime=3.0,
    listening=[],
    ready=False,
    associations={"open": 0, "accepted": 0, "rejected": 0, "aborted": 0, "refused": 0, "list": []},
    instances={"stored": 0, "failed": 0, "bytes": 0, "waiting": 0, "last": []},
    rate={"instances": QUIET, "bytes": QUIET},
    disk=None,
    errors=[],
)

# Longer than anything that comes, without a place to break.
WIDE = snapshot(
    ae_title="W" * 64,
    listening=["[fe80::1111:2222:3333:4444%interface0]:11112"] * 4,
    associations={
        "open": 10**12,
        "accepted": 10**12,
        "rejected": 10**12,
        "aborted": 10**12,
        "refused": 10**12,
        "list": [{**CT1, "calling": "W" * 64, "peer": "P" * 64, "bytes": 10**18}] * 50,
    },
    instances={
        "stored": 10**15,
        "failed": 10**15,
        "bytes": 10**18,
        "waiting": 10**15,
        "last": [{**STORED, "sop_class": "1." * 32, "words": "W" * 64}] * 25,
    },
    disk={"directory": "/" + "d" * 255, "free": 0, "total": 1e15, "temporary": 10**12, "age": 1e9},
    errors=[{"time": 0.0, "kind": "cut off", "peer": "P" * 64, "calling": "W" * 64, "text": "x" * 500}] * 25,
)

# All that has text, as [text, colour, background]; the colour of text in a plot is its fill.
COLOURS = """
    [...document.querySelectorAll("body *")].filter(element =>
        element.checkVisibility() && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
    ).map(element => {
        let ground = element;
        while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        const style = getComputedStyle(element);
        const colour = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
        return [element.textContent.trim(), colour, getComputedStyle(ground).backgroundColor];
    })
"""

FOCUSED = """
    [document.activeElement].map(element => [
        element.getAttribute("aria-labelledby") ?? element.textContent, getComputedStyle(element).outlineStyle
    ])[0]
"""


def contrast(colour: str, ground: str) -> float:
    """That of WCAG 2, of two colours as rgb(0, 0, 0)."""
    lighter, darker = sorted(map(_luminance, (colour, ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class PageTestCase(SynchronousTestCase):
    """Has the page open, from a site that has told nothing yet."""

    def setUp(self) -> None:
        self.browser = Browser(self)
        self.site = Site(self)
        self.browser.driver.get(self.site.url)

    def tell(self, data: Snapshot | str, link: str = "Live") -> None:
        """Send an event, and wait until it is shown; one that is not the first needs another version, or link."""
        self.site.tell(data)
        if isinstance(data, dict) and "version" in data:
            self.wait_for("version", data["version"])
        self.wait_for("link", link)

    def wait_for(self, name: str, text: str, seconds: float = PATIENCE) -> None:
        self.browser.wait(f"document.getElementById('{name}').textContent === {text!r}", f"{name}: {text}", seconds)

    def assert_calm(self, *complaints: str) -> None:
        """The browser has complained of nothing else, and has asked for nothing that is not there."""
        said = self.browser.said()
        self.assertEqual([], [each for each in said if not any(part in each for part in complaints)])
        self.assertEqual(set(), set(self.site.asked) - {*FILES, "/events"})


class ShownTests(PageTestCase):
    """What is told, as somebody sees it."""

    def test_header(self) -> None:
        """Who it is, where it listens, since when, whether it is ready; and the title of the window."""
        self.tell(snapshot())
        self.assertEqual(
            "STORESCP\nstorescp 0.1.0, a DICOM Storage SCP\n"
            "Listening\n127.0.0.1:11112, [::]:2762\nUp since\n2025-11-26 20:56:55 (1 d 2 h)\nAs of\n23:00:00\n"
            "Ready Live\nPause",
            self.browser.text("header"),
        )
        self.assertEqual("STORESCP · storescp", self.browser.driver.title)
        wait_until(lambda: "/icon.svg" in self.site.asked, "an icon", PATIENCE)
        self.assert_calm()

    def test_hindrance(self) -> None:
        """A server that is not ready says why, where it knows."""
        for version, hindrance, said in [
            ("1", "", "Not ready"),
            ("2", "the disk is full", "Not ready: the disk is full"),
        ]:
            self.tell(snapshot(version=version, ready=False, hindrance=hindrance))
            self.assertEqual(said, self.browser.text("#ready"))

    def test_tiles(self) -> None:
        """The main numbers, each with what belongs to it."""
        self.tell(snapshot())
        self.assertEqual(
            "Stored\n48,711\n23.5 GB\nArriving\n10.0 MB/s\n20 instances a second\n"
            "Connected\n2\n1,420 so far, 1 aborted\nWaiting\n2\nnot yet answered\n"
            "Failed\n3\ninstances not stored\nTurned away\n6\n2 rejected, 4 refused",
            self.browser.text(".tiles"),
        )

    def test_recent(self) -> None:
        """A number of errors stands out while the last one is not older than the plots, and no longer."""
        kinds = "['failed', 'turned_away'].map(name => document.getElementById(name).dataset.kind)"
        error = {"time": NOW - 299, "kind": "failed", "peer": "10.1.2.3:50312", "calling": "CT1", "text": "-"}
        for version, errors, expected in [
            ("1", [error], ["bad", ""]),
            ("2", [{**error, "time": NOW - 301}], ["", ""]),
            ("3", [{**error, "kind": "cut off"}], ["bad", ""]),
            ("4", [{**error, "kind": "rejected"}], ["", "warn"]),
            ("5", [{**error, "kind": "refused"}], ["", "warn"]),
        ]:
            self.tell(snapshot(version=version, errors=errors))
            self.assertEqual(expected, self.browser.run(kinds), errors)

    def test_plots(self) -> None:
        """Axes with fitting units and the time, a line to scale, and all in words for who does not see it."""
        self.tell(snapshot())
        times = ["22:56", "22:57", "22:58", "22:59"]
        self.assertEqual(["MB/s", "0", "5", "10", "15", "20", *times], self.labels("bytes"))
        self.assertEqual(["1/s", "0", "10", "20", "30", "40", *times], self.labels("instances"))
        self.assertEqual([0, 300, 0, 20], self.extent("bytes", 20))
        self.assertEqual([0, 300, 0, 40], self.extent("instances", 40))
        self.assertEqual(
            [
                "Bytes a second 10.0 MB/s now, peak 20.0 MB/s at 22:58:19",
                "Instances a second 20/s now, peak 40/s at 22:58:19",
            ],
            [name for role, name in self.browser.outline() if role == "image"],
        )

    def test_units(self) -> None:
        """The axis of a plot fits what is in it, be that little or much."""
        for version, peak, said, expected in [
            ("1", 1, "1 B/s", ["kB/s", "0", "0.0005", "0.001"]),
            ("2", 999, "999 B/s", ["kB/s", "0", "0.5", "1"]),
            ("3", 1000, "1.0 kB/s", ["kB/s", "0", "0.5", "1"]),
            ("4", 999_960, "1.0 MB/s", ["kB/s", "0", "500", "1000"]),
            ("5", 6_300_000, "6.3 MB/s", ["MB/s", "0", "2", "4", "6", "8"]),
            ("6", 1_250_000_000, "1.3 GB/s", ["GB/s", "0", "0.5", "1", "1.5"]),
        ]:
            self.tell(snapshot(version=version, rate={"instances": QUIET, "bytes": [*QUIET[1:], peak]}))
            self.assertEqual(expected, self.labels("bytes")[:-4])
            self.assertEqual(f"{said} now, peak {said} at 22:59:59", self.browser.text("#bytes_said"))

    def test_peers(self) -> None:
        """One row for each association, with the names that a log has of it."""
        self.tell(snapshot())
        self.assertEqual(
            [
                ["CT1", "10.1.2.3:50312", "2 h 30 min", "1,212", "630.0 MB", "0", "STORESCP", "3f9a2c-17"],
                [DASH, "[::1]:1312", "2 min 5 s", "1,212", "999 B", "2", "STORESCP", "3f9a2c-18"],
            ],
            self.browser.rows("peers"),
        )
        self.assertEqual("", self.browser.text("#peers_said"))

    def test_more_peers_than_shown(self) -> None:
        """Where not all are in the list, it says so."""
        associations = {**snapshot()["associations"], "open": 256, "list": [CT1] * 50}
        self.tell(snapshot(associations=associations))
        self.assertEqual(50, len(self.browser.rows("peers")))
        self.assertEqual("the oldest 50 of 256", self.browser.text("#peers_said"))

    def test_last_instances(self) -> None:
        """One row for each instance; what failed has its status, too, and what is of another day its date."""
        self.tell(snapshot())
        self.assertEqual(
            [
                ["22:59:59", "CT1", "CT Image Storage", "Success", "524.3 kB", "3.1 ms", "1.50 s"],
                ["22:59:59", "CT1", "CT Image Storage", "Out of resources A700H", "524.3 kB", "3.1 ms", DASH],
                ["22:59:59", "CT1", "CT Image Storage", "Cut off", "524.3 kB", DASH, DASH],
                [
                    "2025-11-26 22:00:00",
                    "CT1",
                    "CT Image Storage",
                    "Coercion of data elements B000H",
                    "524.3 kB",
                    "1 min 15 s",
                    "1.50 s",
                ],
            ],
            self.browser.rows("instances"),
        )

    def test_shapes(self) -> None:
        """Statuses differ in shape, and not in colour alone."""
        self.tell(snapshot())
        shapes = self.browser.run(
            "[...document.querySelectorAll('#instances td:nth-child(4)')].map(cell =>"
            " getComputedStyle(cell, '::before')).map(style => [style.content, style.borderRadius, style.clipPath])"
        )
        triangle = "polygon(50% 0px, 100% 100%, 0px 100%)"
        disc, square, warning = ['""', "50%", "none"], ['""', "0px", "none"], ['""', "0px", triangle]
        self.assertEqual([disc, square, square, warning], shapes)

    def test_errors(self) -> None:
        """One row for each error; who did not come as far as a title has an address."""
        self.tell(snapshot())
        self.assertEqual(
            [
                ["22:59:00", "failed: Out of resources", "CT1 at 10.1.2.3:50312"],
                ["2025-11-26 22:00:00", "refused: no TLS", "10.9.9.9:4242"],
            ],
            self.browser.rows("errors"),
        )

    def test_disk(self) -> None:
        """What is free in words and as a meter, when somebody has looked, and that it is scarce."""
        meter = "[document.getElementById('used')].map(it => it.hidden ? null : [it.value, it.max, it.low, it.high])[0]"
        disk: dict[str, Any] = snapshot()["disk"]
        cases: list[tuple[str, Snapshot, str, list[float] | None]] = [
            ("1", {}, "410.0 GB free of 1.0 TB, 41 %", [5.9e11, 1e12, 9e11, 9e11]),
            ("2", {"free": 9.9e10}, "99.0 GB free of 1.0 TB, 9 %: nearly full", [9.01e11, 1e12, 9e11, 9e11]),
            ("3", {"free": None, "total": None}, "Not yet looked at", None),
        ]
        for version, changes, said, expected in cases:
            self.tell(snapshot(version=version, disk={**disk, **changes}))
            self.assertEqual(f"/srv/images\n{said}\n2 temporary files, looked at 1 s ago", self.browser.text("#disk"))
            self.assertEqual(expected, self.browser.run(meter))
            self.assertEqual("", self.browser.text("#no_disk"))
        self.tell(snapshot(version="4", disk={**disk, "temporary": 1, "age": None}))
        self.assertEqual("1 temporary file", self.browser.text("#temporary"))

    def test_empty(self) -> None:
        """Where there is nothing, words say so."""
        self.tell(EMPTY)
        self.assertEqual([["Nobody is connected"]], self.browser.rows("peers"))
        self.assertEqual([["Nothing has arrived since the start"]], self.browser.rows("instances"))
        self.assertEqual([["No errors since the start"]], self.browser.rows("errors"))
        self.assertEqual(
            ("0 B/s now, nothing in five minutes", "0/s now, nothing in five minutes"),
            (self.browser.text("#bytes_said"), self.browser.text("#instances_said")),
        )
        self.assertEqual(["kB/s", "0", "1"], self.labels("bytes")[:3])
        self.assertEqual("Nothing has arrived", self.labels("bytes")[-1])
        self.assertEqual("Nothing is stored: instances are answered and let go", self.browser.text("#no_disk"))
        self.assertEqual("", self.browser.run("document.getElementById('disk').checkVisibility() ? 'shown' : ''"))
        self.assertEqual(
            "Listening\nnowhere\nUp since\n22:59:57 (3 s)\nAs of\n23:00:00", self.browser.text("header .facts")
        )
        self.assertEqual("Not ready", self.browser.text("#ready"))
        self.assert_calm()

    def test_emptied(self) -> None:
        """Rows go when what they tell of has gone, and come again."""
        self.tell(snapshot())
        full = self.browser.rows("peers")
        self.tell({**EMPTY, "version": "2"})
        self.assertEqual([["Nobody is connected"]], self.browser.rows("peers"))
        self.tell(snapshot(version="3"))
        self.assertEqual(full, self.browser.rows("peers"))

    def test_selection(self) -> None:
        """What somebody has selected, to copy it, is still selected a second later."""
        self.tell(snapshot())
        self.browser.run("getSelection().selectAllChildren(document.querySelector('#peers td:nth-child(2)'))")
        self.tell(snapshot(version="2", now=NOW + 1))
        self.assertEqual("10.1.2.3:50312", self.browser.run("String(getSelection())"))

    def labels(self, name: str) -> list[str]:
        """All that is written in a plot."""
        texts: list[str] = self.browser.run(
            f"[...document.querySelectorAll('#{name}_plot text')].map(text => text.textContent)"
        )
        return texts

    def extent(self, name: str, highest: float) -> list[int]:
        """From when to when, in seconds, and between which amounts its line goes. `highest` is the last of the axis."""
        line, horizontal = (f"document.querySelector('#{name}_plot {which}').getBBox()" for which in (".line", ".axis"))
        box, axis = (
            self.browser.run(f"(box => [box.x, box.y, box.width, box.height])({it})") for it in (line, horizontal)
        )
        top = self.browser.run(
            f"Math.min(...[...document.querySelectorAll('#{name}_plot .grid')].map(it => it.getBBox().y))"
        )
        a_second, one = axis[2] / 300, (axis[1] - top) / highest
        return [
            round((box[0] - axis[0]) / a_second),
            round((box[0] + box[2] - axis[0]) / a_second),
            round((axis[1] - box[1] - box[3]) / one),
            round((axis[1] - box[1]) / one),
        ]


class DistrustTests(PageTestCase):
    """What comes from peers is text, and what comes from the server may be anything."""

    def test_hostile(self) -> None:
        """Markup in every string there is, is text."""
        peer = {**CT1, "peer": HOSTILE, "calling": HOSTILE, "called": HOSTILE, "id": HOSTILE}
        self.tell(
            snapshot(
                ae_title=HOSTILE,
                listening=[HOSTILE],
                associations={**snapshot()["associations"], "list": [peer]},
                instances={
                    **snapshot()["instances"],
                    "last": [{**STORED, "calling": HOSTILE, "sop_class": HOSTILE, "words": HOSTILE}],
                },
                disk={**snapshot()["disk"], "directory": HOSTILE},
                errors=[{"time": NOW, "kind": HOSTILE, "peer": HOSTILE, "calling": HOSTILE, "text": HOSTILE}],
            )
        )
        self.assertEqual(
            [[HOSTILE, HOSTILE, "2 h 30 min", "1,212", "630.0 MB", "0", HOSTILE, HOSTILE]], self.browser.rows("peers")
        )
        self.assertEqual(
            [["22:59:59", HOSTILE, HOSTILE, HOSTILE, "524.3 kB", "3.1 ms", "1.50 s"]], self.browser.rows("instances")
        )
        self.assertEqual(
            [["23:00:00", f"{HOSTILE}: {HOSTILE}", f"{HOSTILE} at {HOSTILE}"]], self.browser.rows("errors")
        )
        self.assertEqual((HOSTILE, HOSTILE, HOSTILE), tuple(map(self.browser.text, ("h1", "#listening", "#directory"))))
        self.assertEqual(0, self.browser.run("document.querySelectorAll('img').length"))
        self.assertEqual(f"{HOSTILE} · storescp", self.browser.driver.title)
        self.assert_calm()

    def test_malformed(self) -> None:
        """What is not understood is said, all else stays or is shown, and the next snapshot is a new beginning."""
        odd = "The server sent what this page does not understand; reload it"
        rate_missing, no_associations = snapshot(version="odd", rate={}), snapshot(version="odd", associations=None)
        events: list[Snapshot | str] = ["", "{", "null", "7", "[]", "{}", '"text"', rate_missing, no_associations]
        for number, event in enumerate(events):
            self.tell(snapshot(version=str(number)))
            self.tell(event, odd)
            self.assertEqual(
                ["failed: Out of resources", "refused: no TLS"], [row[1] for row in self.browser.rows("errors")]
            )
        self.tell(snapshot(version="good"))
        self.assertEqual(2, len(self.browser.rows("peers")))
        self.assert_calm()

    def test_odd_numbers(self) -> None:
        """What is no number is a dash, and no second of a plot."""
        odd = {**STORED, "time": "soon", "bytes": None, "receive": "x", "sync": {}}
        self.tell(
            snapshot(
                instances={"stored": None, "failed": 0, "bytes": {}, "last": [odd]},
                rate={"instances": [None, "7", -3, 5], "bytes": []},
            )
        )
        self.assertEqual(
            [DASH, "CT1", "CT Image Storage", "Success", DASH, DASH, DASH], self.browser.rows("instances")[0]
        )
        self.assertEqual("5/s now, peak 5/s at 22:59:59", self.browser.text("#instances_said"))
        self.assertEqual("0 B/s now, nothing in five minutes", self.browser.text("#bytes_said"))
        self.assertEqual(DASH, self.browser.text("#stored"))
        self.assert_calm()


class ForEverybodyTests(PageTestCase):
    """Light or dark, wide or narrow, by keyboard, read aloud, without JavaScript."""

    def test_contrast(self) -> None:
        """In both themes all text has the contrast that WCAG asks for at level AA, and so have line and focus."""
        seen = []
        for scheme in ("light", "dark"):
            self.browser.prefer(scheme)
            for version, data, kind in [("1", snapshot(), "live"), ("2", EMPTY, "live"), ("3", WIDE, "paused")]:
                self.tell({**data, "version": scheme + version})
                if kind == "paused":
                    self.browser.press("pause")
                pairs = self.browser.run(COLOURS)
                self.assertGreater(len(pairs), 40)
                self.assertEqual([], [pair for pair in pairs if contrast(pair[1], pair[2]) < 4.5])
                seen.append({tuple(pair[1:]) for pair in pairs})
            self.browser.press("pause")
            self.wait_for("link", "Live")
            line, card = self.browser.run(
                "[getComputedStyle(document.querySelector('.line')).stroke,"
                " getComputedStyle(document.querySelector('figure')).backgroundColor]"
            )
            self.assertGreater(contrast(line, card), 3)
        self.assertEqual(set(), seen[0] & seen[3])

    def test_lost_contrast(self) -> None:
        """So has what is said when the server is lost."""
        self.tell(snapshot())
        self.site.close()
        self.wait_for("link", "Lost the server; trying again")
        for scheme in ("light", "dark"):
            self.browser.prefer(scheme)
            pairs = [pair for pair in self.browser.run(COLOURS) if pair[0].startswith("Lost")]
            self.assertEqual(2, len(pairs))  # seen, and read aloud
            self.assertEqual([], [pair for pair in pairs if contrast(pair[1], pair[2]) < 4.5])

    def test_narrow(self) -> None:
        """On a phone nothing is wider than the page, however long; the tables scroll in their own regions."""
        self.browser.be_wide(360, 780, mobile=True)
        for version, data in [("1", snapshot()), ("2", EMPTY), ("3", WIDE)]:
            self.tell({**data, "version": version})
            self.assertEqual(
                [360, 360], self.browser.run("[document.documentElement.scrollWidth, document.body.scrollWidth]")
            )
        self.assertEqual(
            [True] * 3,
            self.browser.run("[...document.querySelectorAll('.scrolled')].map(it => it.scrollWidth > it.clientWidth)"),
        )
        self.assertEqual(
            [],
            self.browser.run(
                "[...document.querySelectorAll('svg text')].map(it => it.getBBox()).filter(it => it.x < 0)"
            ),
        )

    def test_resized(self) -> None:
        """A plot fits its window also when that changes while the page is paused."""
        self.tell(snapshot())
        self.browser.press("pause")
        self.browser.be_wide(500, 780)
        self.browser.wait(
            "[...document.querySelectorAll('svg')].every(it => it.getBBox().width <= it.clientWidth)", "a narrower plot"
        )

    def test_keyboard(self) -> None:
        """Tab leads to all there is to use, in the order of the page, and one sees where one is."""
        self.tell(snapshot())
        reached = []
        for _ in range(6):
            self.browser.type("\ue004")  # Tab
            reached.append(self.browser.run(FOCUSED))
        self.assertEqual(
            [
                ["Skip to the numbers", "solid"],
                ["Pause", "solid"],
                ["peers_name", "solid"],
                ["instances_table_name", "solid"],
                ["errors_name", "solid"],
                ["/metrics", "solid"],
            ],
            reached,
        )
        self.assert_calm()

    def test_skip_link(self) -> None:
        """It is seen when it has the focus, and leads past the header."""
        self.tell(snapshot())
        top = "document.querySelector('.skip').getBoundingClientRect().top"
        self.assertLess(self.browser.run(top), 0)
        self.browser.type("\ue004")
        self.assertGreaterEqual(self.browser.run(top), 0)
        self.browser.type("\ue007")  # Enter
        self.browser.type("\ue004")
        self.assertEqual("peers_name", self.browser.run(FOCUSED)[0])

    def test_outline(self) -> None:
        """What somebody hears of the page who looks for its parts: landmarks, headings, tables, plots and meters."""
        self.tell(snapshot())
        self.assertEqual(
            [
                ("banner", ""),
                ("heading", "STORESCP"),
                ("status", ""),
                ("main", ""),
                ("heading", "Numbers"),
                ("heading", "Arrival, last five minutes"),
                ("heading", "Bytes a second"),
                ("image", "Bytes a second 10.0 MB/s now, peak 20.0 MB/s at 22:58:19"),
                ("heading", "Instances a second"),
                ("image", "Instances a second 20/s now, peak 40/s at 22:58:19"),
                ("heading", "Connected peers"),
                ("region", "Connected peers, the oldest association first"),
                ("table", "Connected peers, the oldest association first"),
                ("heading", "Last instances"),
                ("region", "Last instances, the newest first"),
                ("table", "Last instances, the newest first"),
                ("heading", "Disk"),
                ("meter", "Used part of the disk"),
                ("heading", "Errors"),
                ("region", "Errors, the newest first"),
                ("table", "Errors, the newest first"),
                ("contentinfo", ""),
            ],
            self.browser.outline(),
        )
        self.assertEqual(
            ["H1", "H2", "H2", "H3", "H3", "H2", "H2", "H2", "H2"],
            self.browser.run("[...document.querySelectorAll('h1, h2, h3, h4')].map(it => it.tagName)"),
        )
        self.assertEqual(
            ["col"], self.browser.run("[...new Set([...document.querySelectorAll('th')].map(it => it.scope))]")
        )

    def test_motion(self) -> None:
        """Nothing moves, whether somebody minds or not."""
        self.tell(snapshot())
        self.assertEqual(
            ["0s none auto"],
            self.browser.run(
                "[...new Set([...document.querySelectorAll('*')].map(it => getComputedStyle(it)).map(it =>"
                " `${it.transitionDuration} ${it.animationName} ${it.scrollBehavior}`))]"
            ),
        )

    def test_without_javascript(self) -> None:
        """The page says what it needs, and where the numbers are else."""
        self.browser.command("Emulation.setScriptExecutionDisabled", value=True)
        self.browser.driver.get(self.site.url)
        shown = self.browser.command("Accessibility.getFullAXTree")["nodes"]
        texts = [node["name"]["value"] for node in shown if node["role"]["value"] in ("StaticText", "link")]
        self.assertIn("This page needs JavaScript. The same numbers, as text, are at ", texts)
        self.assertIn("/metrics", texts)


class LinkTests(PageTestCase):
    """The page and its server: live, paused, lost and found."""

    def test_before(self) -> None:
        """Until the first snapshot it connects, and shows no numbers."""
        self.assertEqual(
            ("Connecting", "storescp", ""), tuple(map(self.browser.text, ("#link", "h1", "header .facts")))
        )
        self.assertIs(False, self.browser.run("document.getElementById('main').checkVisibility()"))

    def test_pause(self) -> None:
        """While the page is paused nothing changes, and nothing is asked for; then it goes on."""
        self.tell(snapshot(version="1"))
        self.browser.press("pause")
        self.assertEqual(("Paused", "Resume"), tuple(map(self.browser.text, ("#link", "#pause"))))
        self.assertEqual("Paused · STORESCP · storescp", self.browser.driver.title)
        self.site.tell(snapshot(version="2"))
        asked = list(self.site.asked)
        time.sleep(1)
        self.assertEqual(("1", asked), (self.browser.text("#version"), self.site.asked))
        self.browser.press("pause")
        self.wait_for("version", "2")
        self.assertEqual(("Live", "Pause"), tuple(map(self.browser.text, ("#link", "#pause"))))
        self.assertEqual("", self.news)
        self.assert_calm()

    def test_lost(self) -> None:
        """A server that ends is missed in words, aloud and in the title; what was shown stays; and it is found."""
        self.tell(snapshot(version="1"))
        self.site.close()
        self.wait_for("link", "Lost the server; trying again", SOON)
        self.assertEqual("Lost the server; trying again", self.news)
        self.assertEqual("Lost the server; trying again · STORESCP · storescp", self.browser.driver.title)
        self.assertEqual(2, len(self.browser.rows("peers")))
        self.site = Site(self, self.site.port)
        self.tell(snapshot(version="2"))
        self.assertEqual(("The server is back", "STORESCP · storescp"), (self.news, self.browser.driver.title))
        self.assert_calm("net::ERR_")

    def test_paused_while_lost(self) -> None:
        """Who pauses a page that has lost its server has it try no more."""
        self.tell(snapshot())
        self.site.close()
        self.wait_for("link", "Lost the server; trying again")
        self.browser.press("pause")
        self.site = Site(self, self.site.port)
        time.sleep(1)
        self.assertEqual(("Paused", "", []), (self.browser.text("#link"), self.news, self.site.asked))

    def test_refused(self) -> None:
        """A server that answers with an error is tried again, too, which a browser does not do by itself."""
        self.tell(snapshot(version="1"))
        self.site.close()
        self.site = Site(self, self.site.port, status=503)
        wait_until(lambda: self.site.asked.count("/events") >= 2, "a second attempt", SOON)
        self.assertEqual("Lost the server; trying again", self.browser.text("#link"))
        self.site.status = 200
        self.tell(snapshot(version="2"))
        self.assert_calm("net::ERR_", "status of 503")

    def test_silent(self) -> None:
        """A server that says nothing for ten seconds is lost, though nobody has closed the connection."""
        self.tell(snapshot())
        began = time.monotonic()
        self.wait_for("news", "The server is back")  # by another connection, at once
        self.assertGreater(time.monotonic() - began, 9)
        self.assertEqual(2, self.site.asked.count("/events"))
        self.assert_calm()

    def test_news(self) -> None:
        """What is read aloud does not change each second."""
        self.browser.run(
            "(window.changes = 0, new MutationObserver(() => changes++).observe("
            "document.getElementById('news'), {childList: true, characterData: true, subtree: true}))"
        )
        for version in "123":
            self.tell(snapshot(version=version))
        self.assertEqual((0, ""), (self.browser.run("changes"), self.news))

    @property
    def news(self) -> str:
        return str(self.browser.run("document.getElementById('news').textContent"))


class EndToEndTests(ServerTestCase):
    """With the server that it is made for."""

    SENDERS, EACH, PIXELS = 4, 40, bytes(200_000)

    def test_load(self) -> None:
        """What several peers send is counted while they do; who goes is gone; and an open page keeps no server."""
        browser = Browser(self)
        server = self.serve(LOOPBACK, "--http=0")
        browser.driver.get(f"http://127.0.0.1:{web_port(server)}/")
        browser.wait("document.getElementById('link').textContent === 'Live'", "the first snapshot")
        self.assertEqual([["Nobody is connected"]], browser.rows("peers"))
        senders = [Sender(server.address) for _ in range(self.SENDERS)]
        for sender in senders:
            self.addCleanup(sender.close)
        with ThreadPoolExecutor(self.SENDERS) as pool:
            list(pool.map(self.send, senders, range(self.SENDERS)))
        browser.wait("document.getElementById('stored').textContent === '160'", "160 instances")
        self.assertEqual(["4", "0", "0"], [browser.text(it) for it in ("#open", "#waiting", "#failed")])
        shown = [(row[0], row[3], row[5], row[6]) for row in browser.rows("peers")]
        self.assertEqual([("TESTSCU", "40", "0", "STORESCP")] * self.SENDERS, shown)
        last = [tuple(row[1:5]) for row in browser.rows("instances")]
        self.assertEqual([("TESTSCU", "CT Image Storage", "Success", "200.1 kB")] * 25, last)
        self.take_screenshots(browser)
        for sender in senders:
            sender.release()
        browser.wait("document.getElementById('open').textContent === '0'", "that all have gone")
        self.assertEqual([["Nobody is connected"]], browser.rows("peers"))
        self.assertEqual([], browser.said())
        self.assertEqual((0, ""), ((ended := server.stop()).code, ended.stderr))
        browser.wait("document.getElementById('link').textContent.startsWith('Lost')", "that the server has gone")

    def test_troubles(self) -> None:
        """Whatever goes wrong is told in a way that the page understands."""
        browser = Browser(self)
        server = self.serve(LOOPBACK, "--http=0", "--max-associations=1")
        browser.driver.get(f"http://127.0.0.1:{web_port(server)}/")
        sender = Sender(server.address)
        self.addCleanup(sender.close)
        self.assertEqual(0xA900, sender.store(data_set_with("1.2.3"), "1.2.4"))
        with self.assertRaises(NotAccepted):
            Sender(server.address)
        sender.send(*c_store(data_set_with("1.2.5", self.PIXELS), "1.2.5")[:-1])
        sender.abort()
        browser.wait("document.getElementById('errors').rows.length === 4", "four errors")
        self.assertEqual(
            ["aborted", "cut off", "rejected", "failed"], [row[1].partition(":")[0] for row in browser.rows("errors")]
        )
        self.assertEqual(
            ["Cut off", "Data Set Does Not Match SOP Class A900H"], [row[3] for row in browser.rows("instances")]
        )
        self.assertEqual(
            ["2", "1", "1 so far, 1 aborted"], [browser.text(it) for it in ("#failed", "#turned_away", "#open_more")]
        )
        self.assertEqual(("Live", []), (browser.text("#link"), browser.said()))

    def send(self, sender: Sender, number: int) -> None:
        for instance in range(self.EACH):
            uid = f"1.2.3.{number}.{instance}"
            self.assertEqual(0x0000, sender.store(data_set_with(uid, self.PIXELS), uid))
            time.sleep(0.05)  # so that it takes some of the seconds that are plotted

    def take_screenshots(self, browser: Browser) -> None:
        """For somebody to look at: build/screenshots/."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for name, scheme, width in [("page", "light", 1440), ("page-dark", "dark", 1440), ("page-phone", "light", 360)]:
            browser.prefer(scheme)
            browser.be_wide(width, 900, mobile=width < 500)
            browser.be_wide(width, browser.run("document.documentElement.scrollHeight"), mobile=width < 500)
            time.sleep(0.5)  # until it is painted
            path = SCREENSHOTS / f"{name}.png"
            self.assertTrue(browser.driver.save_screenshot(str(path)), path)


def web_port(server: Server) -> int:
    """The port that it has announced for the page."""
    wait_until(lambda: bool(_WEB.search(server.stdout)), "the announcement of the port for the page")
    return int(_WEB.findall(server.stdout)[0])
