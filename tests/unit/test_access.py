"""What is said of a database that cannot be reached: where, why, in sentences, and never the password."""

from __future__ import annotations

import pytest
from psycopg import OperationalError

from revenant.sql.access import address, reason

REFUSED = (
    'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (REFUSED, "Connection refused. Is the server running on that host and accepting TCP/IP connections?"),
        ("the connection is closed", "the connection is closed."),
        ("two failures:\n- one\n- another.\n", "two failures: - one. - another."),
        ("", "OperationalError."),
        ("  \n ", "OperationalError."),
    ],
)
def test_the_drivers_words_are_sentences(text: str, said: str) -> None:
    assert reason(OperationalError(text), "postgresql://ada@127.0.0.1:1/shop").endswith(said)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:pa55word@db.example:5433/shop",
        "host=db.example port=5433 user=ada password=pa55word dbname=shop",
    ],
)
def test_an_address_says_where_and_as_whom_and_no_password(url: str) -> None:
    assert address(url) == "ada@db.example:5433/shop"
    assert reason(OperationalError("no pa55word here"), url) == "no *** here."
