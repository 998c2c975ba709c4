"""The migration as a text to read first: a script for psql, and the whole schema in one file.

The script decides in the database what is left to do, so one text fits a new, an old and a current database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate.schema import SchemaManager
from psycopg import sql

from revenant.sql import load
from revenant.sql.migrate import TURN_TIMEOUT

if TYPE_CHECKING:
    from revenant.sql.load import Migration, Release

_SCRIPT_TITLE = """\
-- Brings a database's schema to Revenant's migration {number}, in one transaction; again is harmless.
-- Read it, then run it with: psql --no-psqlrc --quiet --file=THIS_FILE DATABASE_URL
"""

_WHOLE_TITLE = """\
-- Promise: the whole schema `revenant` at migration {number}, to read and for tools.
-- Locks: creates new relations only. Written by scripts/schema: edit migrations/ and functions/ instead.
"""


def render(*, lock_timeout: float = 5.0, release: Release | None = None) -> str:
    """Return what `migrate` does as one script for psql, to be read, kept, or run by whoever has the rights.

    `lock_timeout` (seconds) and `release` are those of `migrate`; the script does not repeat a failed try.

    Example: `Path("migrate.sql").write_text(render())`.
    """
    brought = release or load.release()
    timeouts = {"lock_timeout": _milliseconds(lock_timeout), "turn_timeout": _milliseconds(TURN_TIMEOUT)}
    parts = [
        _SCRIPT_TITLE.format(number=brought.number),
        _filled("psql/begin", **timeouts),
        _filled("statements/create_migrations") + "\n",
        _filled("psql/check_newer", number=brought.number),
        _filled("psql/check_procrastinate") + _if_pending(str(SchemaManager.get_schema())),
    ]
    for migration in brought.migrations:
        check = _filled("psql/check_migration", number=migration.number, checksum=migration.checksum)
        parts.append(check + _if_pending(_migration(migration), unless_ahead=True))
    check = _filled("psql/check_functions", number=brought.number, digest=brought.digest)
    parts.append(check + _if_pending(_functions(brought)))
    parts.append("commit;\n")
    return "\n".join(parts)


def whole_schema(release: Release | None = None) -> str:
    """Return the schema `revenant` as one script for a database without it: the text of `schema.sql`."""
    brought = release or load.release()
    return "\n".join(
        [
            _WHOLE_TITLE.format(number=brought.number),
            "begin;\nset local check_function_bodies = off;\n",
            _filled("statements/create_migrations") + "\n",
            *(_migration(migration) for migration in brought.migrations),
            _functions(brought),
            "commit;\n",
        ]
    )


def _migration(migration: Migration) -> str:
    record = _filled(
        "statements/record_migration",
        number=migration.number,
        name=migration.name,
        checksum=migration.checksum,
        compatible_from=migration.compatible_from,
    )
    return f"-- {migration.label}.sql\n{migration.text}\n{record}\n"


def _functions(release: Release) -> str:
    record = _filled("statements/record_functions", digest=release.digest)
    return "\n".join([*(function.text for function in release.functions), f"{record}\n"])


def _if_pending(text: str, *, unless_ahead: bool = False) -> str:
    if unless_ahead:
        text = f"\\if :ahead\n\\else\n{text}\\endif\n"
    return f"\\if :pending\n{text}\\endif\n"


def _filled(path: str, **values: str | int) -> str:
    """Return the file with its named parameters written out as literals."""
    text = load.text(path)
    return text % {name: sql.Literal(value).as_string() for name, value in values.items()} if values else text


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
