"""The README and the docs as values: pages, fenced blocks, sections, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
_FENCE = re.compile(r"^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    language: str
    info: str
    text: str
    line: int

    @property
    def runs(self) -> bool:
        """Whether a test executes it."""
        return self.language in ("python", "console", "sql") and not self.info.startswith("notest")

    @property
    def file(self) -> str | None:
        """The file that readers are to make of it: its first line is a comment that names one."""
        match = re.match(r"# ([\w./]+\.py)\n", self.text)
        return match[1] if match and self.language == "python" else None


def name(page: Path) -> str:
    """Return how people call a page."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(match["language"], match["info"].strip(), match["text"], text.count("\n", 0, match.start("text")) + 1)
        for match in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub does."""
    return {_slug(match[2]) for match in _HEADING.finditer(prose(page))}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links."""
    return (match[1] for match in _LINK.finditer(prose(page)))


def sections(page: Path, level: int) -> dict[str, str]:
    """Return the prose under the headings of one level, by their headings without backticks."""
    parts = re.split(rf"^{'#' * level} (.+)$", prose(page), flags=re.MULTILINE)
    texts = [re.split(rf"^#{{1,{level}}} ", text, maxsplit=1, flags=re.MULTILINE)[0] for text in parts[2::2]]
    return dict(zip((heading.replace("`", "") for heading in parts[1::2]), texts, strict=True))


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables in a text, without their headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    found: list[list[str]] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if re.fullmatch(r"[|\s:-]+", line):
            found.pop()
        elif before or not found:
            found.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("| "))])
    return found
