"""Logs: one JSON object a line, with what is known of a message; nothing of what it holds above DEBUG."""

from __future__ import annotations

import json
import logging
from typing import Any

import psycopg
import pytest

from revenant.logs import JobFilter, JsonFormatter, TextFormatter
from revenant.queue.link import brief

SECRET = "4711-is-my-number"


def record(**extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("revenant.turn", logging.INFO, __file__, 1, "%s ended.", ("It",), None)
    made.__dict__.update(extra)
    return made


def raised() -> Any:
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(f"again {SECRET}") from error
    except RuntimeError as error:
        return type(error), error, error.__traceback__


def test_a_record_is_one_line_of_json_with_its_fields() -> None:
    line = JsonFormatter(frank=False).format(
        record(kind="Account", key='a"\n', attempt=1, duration=0.25, args_of=SECRET)
    )
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("time").endswith(("Z", "+00:00"))
    assert entry.pop("process") > 0
    assert entry == {
        "level": "info", "logger": "revenant.turn", "message": "It ended.",
        "kind": "Account", "key": 'a"\n', "attempt": 1, "duration": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
def test_an_exception_is_its_types_and_places_above_debug(formatter: type[TextFormatter]) -> None:
    told = record()
    told.exc_info = raised()
    text = formatter(frank=False).format(told)
    assert SECRET not in text
    assert "ValueError" in text
    assert "RuntimeError" in text
    assert "in raised" in text
    told.exc_text = None  # the standard library keeps it for the next formatter
    assert SECRET in formatter(frank=True).format(told)


def test_a_job_is_named_without_its_arguments() -> None:
    told = record(
        job={"id": 7, "task_name": "note_job", "call_string": f"note_job[7](word='{SECRET}')"}, action="job_error"
    )
    told.msg, told.args = f"Job note_job[7](word='{SECRET}') ended with status: Error", ()
    assert JobFilter().filter(told)
    assert told.getMessage() == "job error: note_job, job 7"


def test_an_error_of_postgres_is_told_without_what_was_sent(server_url: str) -> None:
    with psycopg.connect(server_url) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute("select %s::json", (f'{{"a": {SECRET}',))
    assert SECRET[:7] in str(refused.value)
    assert brief(refused.value) == "invalid input syntax for type json"
