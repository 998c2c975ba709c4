"""The cases in which a process ends in the middle of a step: for real worker processes, which import this module."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from revenant import Flow, Retry, Revenant, Workflow, current_step, step, workflow
from revenant.errors import StepInterrupted
from revenant.worker.runs.appending import Append
from revenant.worker.runs.archive import PostgresArchive
from revenant.worker.runs.stage import Staged
from revenant.workflows.events import event
from tests.conformance.contexts import CONTEXTS, context_code, in_context
from tests.conformance.translation import DIED, IDLE, Noted

NOTES = "REVENANT_TEST_NOTES"
"""Names the file in which the workers of a case note what they commit."""
log = logging.getLogger("conformance")


def die_once() -> None:
    """End this process, as a crash does, the first time that a case comes here."""
    before = Path(os.environ[NOTES]).with_suffix(".died")
    if not before.exists():
        before.touch()
        os._exit(1)


@step(name="at_most_once_flaky_step", at_most_once=True)
async def log_and_die(words: str) -> None:
    log.warning(words)
    os._exit(1)


@step(at_most_once=True)
async def log_and_die_first(words: str) -> str:
    log.warning(words)
    if current_step().attempt == 1:
        os._exit(1)
    return "succeeded on second attempt"


async def die_and_echo(value: str) -> str:
    die_once()
    return value


@workflow(name="case 1-17")
async def interrupted_for_good(flow: Flow, given: str) -> None:
    await flow.step(log_and_die, given)


@workflow(name="case 1-18")
async def interrupted_and_tried_again(flow: Flow, given: str) -> str:
    # Nobody waits for the pause: the test has the run tried again at once.
    return await flow.step(log_and_die_first, given, retry=Retry(attempts=2, backoff=600, on=(StepInterrupted,)))


@context_code
async def step_that_dies(flow: Flow, given: str) -> str:
    return await flow.step(die_and_echo, given)


@workflow(name="case 3-12")
async def interrupted_context(flow: Flow, given: str) -> Any:
    return await in_context(flow, step_that_dies, given)


CRASHING: dict[str, Workflow[Any, Any]] = {
    "1-17": interrupted_for_good,
    "1-18": interrupted_and_tried_again,
    "3-12": interrupted_context,
}
app = Revenant(workflows=[*CRASHING.values(), *CONTEXTS.values()])


def read_notes(file: Path) -> list[Noted | str]:
    """Return what was noted, in order."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [one if isinstance(one, str) else Noted(one[0], event(*one[1:])) for one in lines]


def note(file: Path, mark: str) -> None:
    """Note that nothing was under way any more, or that a process has died."""
    assert mark in (IDLE, DIED)
    _write(file, [mark])


def _write(file: Path, notes: Sequence[object]) -> None:
    with file.open("a") as open_file:
        open_file.writelines(json.dumps(one, default=str) + "\n" for one in notes)


async def _append_and_note(archive: PostgresArchive, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
    # Before: when it returns, others may have seen it, and gone on.
    told = [(part.write.key, one) for part in parts for one in part.draft.events]
    _write(Path(os.environ[NOTES]), [(key, one.seq, one.type, one.op, one.at, one.text) for key, one in told])
    return await _APPEND(archive, parts)


_APPEND = PostgresArchive.append
if NOTES in os.environ:
    PostgresArchive.append = _append_and_note  # type: ignore[assignment, method-assign]  # in a worker of these tests, which ends with it
