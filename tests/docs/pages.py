"""The pages of the documentation: their sections, and the blocks in these."""

import re
from pathlib import Path

import attrs

from tests.servers import ROOT

_TITLE = re.compile(r"(?m)^(\S.*)\n([=~-])\2{2,}$\n")
_BLOCK = re.compile(
    r"(?m)^(?P<indent> *)\.\. (?:code-block|literalinclude):: (?P<argument>\S+)\n"
    r"(?P<options>(?:(?P=indent)   :.*\n)*)"
    r"(?P<content>(?:(?:(?P=indent)   .*)?\n)*)"
)
_OPTION = re.compile(r":([\w-]+): (.*)")


@attrs.frozen
class Block:
    """What stands between its directive and the next text, and what its caption says that it is."""

    page: str
    section: str
    language: str
    caption: str
    content: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it is one."""
        return self.caption.removeprefix("File ") if self.caption.startswith("File ") else None


@attrs.frozen
class Page:
    """A page, by its place in the checkout."""

    path: str

    @property
    def text(self) -> str:
        return (ROOT / self.path).read_text()

    def section(self, title: str) -> str:
        """The text below a title, up to the next one of any level."""
        (text,) = (text for each, text in self._sections() if each == title)
        return text

    def blocks(self, title: str | None = None) -> list[Block]:
        """All of them, or those of a section."""
        return [
            block
            for section, text in self._sections()
            if title in (None, section)
            for match in _BLOCK.finditer(text)
            if (block := self._block(section, match))
        ]

    def block(self, caption: str) -> str:
        """The content of the one with this caption."""
        (content,) = (block.content for block in self.blocks() if block.caption == caption)
        return content

    def _sections(self) -> list[tuple[str, str]]:
        text = self.text
        titles = list(_TITLE.finditer(text))
        begins = [("", 0), *((match[1], match.end()) for match in titles)]  # what is before the first has none
        ends = [*(match.start() for match in titles), len(text)]
        return [(title, text[begin:end]) for (title, begin), end in zip(begins, ends, strict=True)]

    def _block(self, section: str, match: "re.Match[str]") -> Block:
        options = dict(_OPTION.findall(match["options"]))
        caption = options.get("caption") or options.get("class", "")  # the latter where other renderers read it, too
        if "code-block" in match[0].partition("::")[0]:
            outdented = re.sub(f"(?m)^{match['indent']}   ", "", match["content"])
            return Block(self.path, section, match["argument"], caption, outdented.strip("\n") + "\n")
        if "start-at" in options:  # a part, for reading
            return Block(self.path, section, "text", caption, "")
        file = (ROOT / self.path).parent / match["argument"]
        return Block(self.path, section, options.get("language", ""), caption, file.read_text())


PAGES = [
    Page(str(path.relative_to(ROOT)))
    for path in (*sorted(ROOT.glob("*.rst")), *sorted(Path(ROOT, "docs").glob("*.rst")))
]
