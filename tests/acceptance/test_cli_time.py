"""What is due later, as one sees and cancels it from a shell."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.acceptance.command import revenant
from tests.acceptance.test_cli import parsed, within

pytestmark = pytest.mark.acceptance
SCHEDULE = """
insert into revenant.schedules (
    name, digest, due, cron, timezone, missed, bucket, kind, key, handler, args, since, seen_at
)
values (
    'nightly', '\\x00', now() + make_interval(days => 1), '30 2 * * *', 'Europe/Berlin', 'once',
    revenant.bucket_v1('Report', 'main'), 'Report', 'main', 'build', '{}', now(), now()
)
"""
REMINDER = """
insert into revenant.reminders (
    bucket, kind, key, name, due, every, timezone, missed, to_bucket, to_kind, to_key, handler, args
)
select b, 'Cart', 'c', 'close', now() + make_interval(hours => 1), 3600, 'UTC', 'all', b, 'Cart', 'c', 'close', '{}'
from revenant.bucket_v1('Cart', 'c') b
"""


def test_a_scheduled_cast_is_cancelled_by_the_id_that_was_printed(database: str) -> None:
    first, second = (
        revenant("cast", "Cart", "c", "close", "--after", "1h", url=database).stdout.strip() for _ in range(2)
    )
    assert parsed(within(database, "show", "Cart", "c", "-o", "json").stdout, "json")[0]["scheduled"] == 2
    done = within(database, "cancel", first)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{first}\n", "1 cancelled.\n")
    again = within(database, "cancel", first, second)
    assert (again.exit_code, again.stdout) == (3, f"{second}\n")
    assert f"Not scheduled, or due before: {first}." in again.stderr
    assert within(database, "cancel", "nonsense").exit_code == 2


def test_show_lists_the_reminders_of_an_entity_without_state_too(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(REMINDER)
    shown = within(database, "show", "Cart", "c", "-o", "json")
    (reminder,) = json.loads(shown.stdout)["reminders"]
    assert (reminder["name"], reminder["every"], reminder["missed"], reminder["handler"]) == (
        "close",
        3600.0,
        "all",
        "close",
    )


def test_schedules_lists_them_and_which_are_live(database: str) -> None:
    assert within(database, "schedules", "-o", "json").stdout == "[]\n"
    with psycopg.connect(database) as connection:
        connection.execute(SCHEDULE)
    (row,) = parsed(within(database, "schedules", "-o", "csv").stdout, "csv")
    assert (row["name"], row["cron"], row["timezone"], row["live"]) == ("nightly", "30 2 * * *", "Europe/Berlin", "yes")
