"""The SQL files beside this module, as values: statements, functions and numbered migrations.

Every line of SQL that Revenant runs lives in a `.sql` file; this is the one door to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, LiteralString, cast

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_MIGRATION = re.compile(r"(?P<number>\d{4})_(?P<name>\w+)\.sql")
_COMPATIBLE_FROM = re.compile(r"^-- compatible-from: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered, immutable step of the schema.

    `compatible_from` is the oldest code, named by its highest migration number, that can run on the schema
    once this step is applied: the header line `-- compatible-from: N`, or 1 where there is none.
    """

    number: int
    name: str
    text: LiteralString
    checksum: str
    compatible_from: int

    @classmethod
    def of(cls, number: int, name: str, text: LiteralString) -> Migration:
        """Read the header out of `text`, and give the text its checksum."""
        header = _COMPATIBLE_FROM.search(text)
        return cls(
            number=number,
            name=name,
            text=text,
            checksum=checksum(text),
            compatible_from=int(header[1]) if header else 1,
        )

    @property
    def label(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.number:04}_{self.name}"


@dataclass(frozen=True, slots=True)
class Function:
    """One database function, in the file of its name; `create or replace`, so it can be applied again."""

    name: str
    text: LiteralString


@dataclass(frozen=True, slots=True)
class Release:
    """What this code brings to a database: its migrations, in order, and its functions."""

    migrations: tuple[Migration, ...]
    functions: tuple[Function, ...]

    @property
    def number(self) -> int:
        """The highest migration number, which is the name of this code towards the schema."""
        return self.migrations[-1].number if self.migrations else 0

    @property
    def digest(self) -> str:
        """One checksum over all functions; it changes when any of them does."""
        return checksum("".join(f"{function.name}\n{function.text}\n" for function in self.functions))


@cache
def statement(name: str) -> LiteralString:
    """Return the statement of that name without its opening comment lines, ready for `execute`.

    Example: `await connection.execute(statement("list_migrations"))`.
    """
    return text(f"statements/{name}")


@cache
def text(path: str) -> LiteralString:
    """Return a file of this package (`folder/name`, without `.sql`) without its opening comment lines."""
    lines = _read(resources.files("revenant.sql") / f"{path}.sql").splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith("--")):
        del lines[0]
    return _trusted("\n".join(lines))


@cache
def functions() -> tuple[Function, ...]:
    """Return the functions of this code, sorted by name."""
    files = [entry for entry in _folder("functions").iterdir() if entry.name.endswith(".sql")]
    return tuple(
        Function(name=file.name.removesuffix(".sql"), text=_read(file))
        for file in sorted(files, key=lambda file: file.name)
    )


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations of this code, in the order of their numbers."""
    found = [
        Migration.of(int(match["number"]), match["name"], _read(entry))
        for entry in _folder("migrations").iterdir()
        if (match := _MIGRATION.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


@cache
def release() -> Release:
    """Return the migrations and functions of the code that is running."""
    return Release(migrations=migrations(), functions=functions())


def checksum(text: str) -> str:
    """Return the checksum under which a text is recorded in the database."""
    return sha256(text.encode()).hexdigest()


def _folder(name: str) -> Traversable:
    return resources.files("revenant.sql") / name


def _read(file: Traversable) -> LiteralString:
    return _trusted(file.read_text(encoding="utf-8"))


def _trusted(text: str) -> LiteralString:
    """Vouch for a file of this package: it is as safe as a literal in the code."""
    return cast("LiteralString", text)  # type: ignore[redundant-cast]  # to mypy it is str, to pyright not
