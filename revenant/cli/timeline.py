"""A run as a timeline: a line for each thing that its code asked for, with bars where a human looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
from pydantic_core import to_json

from revenant.cli.output import fits_terminal, print_rows
from revenant.cli.typed import typed
from revenant.wording import raised
from revenant.workflows.description import OperationDescription, RunDescription

COLUMNS = ("op", "type", "name", "state", "began", "took", "attempts", "note")
WIDTH = 32
"""Characters of a bar."""


def print_timeline(run: RunDescription) -> None:
    """Print where a run stands, and what it did when."""
    for line in heading(run):
        click.echo(line)
    rows = [_row(run, one) for one in run.operations]
    if not rows:
        return
    click.echo()
    columns: tuple[str, ...] = COLUMNS
    if sys.stdout.isatty():
        wide = (*COLUMNS[:4], "timeline", *COLUMNS[4:])
        for row, one in zip(rows, run.operations, strict=True):
            row["timeline"] = bar(run, one)
        # Where there is no room for bars, what they show stands beside them.
        if fits_terminal(wide, rows, whole=("timeline",)):
            columns = wide
    print_rows("table", columns, rows, whole=("timeline",))


def heading(run: RunDescription) -> Iterator[str]:
    """Yield the lines above the timeline."""
    until = run.ended_at or run.updated_at
    status = run.status if run.closing is None else f"{run.status}, {run.closing}"
    yield f"{_plain(run.workflow)} {_plain(run.id)}: {status}"
    yield (
        f"version {run.version}, {run.events} events, started {run.started_at:%Y-%m-%d %H:%M:%S %Z}, "
        f"{'took' if run.ended_at else 'last changed after'} {_seconds(run.started_at, until)}"
    )
    yield from _reasons(run)
    if run.owner is not None:
        where = f"{run.owner.host}, process {run.owner.pid}" if run.owner.host else "no worker that is known"
        yield f"owner: {run.owner.id} ({where}{'' if run.owner.alive else ', dead'})"
    if run.recoveries:
        yield f"recoveries: {run.recoveries}"
    if run.messages:
        yield f"messages that wait: {run.messages}"
    if run.signals:
        waiting = ", ".join(f"{_plain(name)} ({count})" for name, count in sorted(run.signals.items()))
        yield f"signals that nobody has taken: {waiting}"
    if run.parent is not None:
        yield f"parent: {_plain(run.parent[0])} {_plain(run.parent[1])}"
    if run.forked_from is not None:
        yield f"forked from: {_plain(str(run.forked_from.get('id')))}, before operation {run.forked_from.get('op')}"
    if run.earlier:
        yield f"earlier histories: {len(run.earlier)}"


def _reasons(run: RunDescription) -> Iterator[str]:
    """Yield why it stands there or has ended so, and what of the undoing has not come about."""
    if run.problem and run.ended_at is None:
        yield f"why: {_plain(run.problem)}"
    if run.reason:
        yield f"reason: {_plain(run.reason)}"
    if run.status == "completed":
        yield f"result: {_plain(_short(to_json(run.result).decode()))}"
    if run.error:
        yield f"error: {_plain(_words(run.error))}"
    names = {one.number: one.name for one in run.operations}
    for failed in run.undo_errors:
        what = f"{_plain(failed['name'])} (operation {failed['op']})"
        yield f"undoing failed: {what}: {_plain(_words(failed['error']))}"
    for number in run.not_undone:
        yield f"not undone: {_plain(names.get(number, 'what it was'))} (operation {number})"
    if run.note:
        yield f"note: {_plain(run.note)}"
    if run.resolved:
        said = f": {run.resolved['note']}" if run.resolved.get("note") else ""
        yield _plain(f"resolved: by {run.resolved['by']}, {run.resolved['at']}{said}")
    elif run.problem and run.ended_at is not None:
        yield f"what to do: mend that, then `{typed('revenant run resolve --by WHO', run.id)}`"


def bar(run: RunDescription, one: OperationDescription) -> str:
    """Return when something was under way within the time of its run; a full block where an attempt was."""
    end = run.ended_at or run.updated_at
    whole = max((end - run.started_at).total_seconds(), 1e-9)

    def place(moment: datetime) -> int:
        return max(0, min(WIDTH - 1, int((moment - run.started_at).total_seconds() / whole * WIDTH)))

    cells = [" "] * WIDTH
    for index in range(place(one.asked_at), place(one.ended_at or end) + 1):
        cells[index] = "─"
    for attempt in one.attempts:
        for index in range(place(attempt.started_at), place(attempt.ended_at or end) + 1):
            cells[index] = "█" if attempt.error is None else "▒"
    return "".join(cells)


def _row(run: RunDescription, one: OperationDescription) -> dict[str, Any]:
    state = "running" if one.running else "retrying" if one.retrying else one.state
    return {
        "op": one.number,
        "type": one.type,
        "name": one.name,
        "state": state,
        "began": f"+{_seconds(run.started_at, one.asked_at)}",
        "took": _seconds(one.asked_at, one.ended_at) if one.ended_at else "",
        "attempts": len(one.attempts) or None,
        "note": _note(one),
    }


def _note(one: OperationDescription) -> str:
    if one.due is not None:
        return f"due {one.due:%Y-%m-%d %H:%M:%S %Z}"
    if one.running and one.deaths:
        return f"{'in a cell, ' if one.apart else ''}after {one.deaths} of {one.recoveries} deaths"
    if one.state == "cancelled" and (one.type == "call" or one.attempts):
        # What is given up is not taken back.
        return "not waited for; its effect may be there"
    return _words(one.error) if one.error is not None and one.state in ("open", "failed") else ""


def _words(error: dict[str, Any]) -> str:
    return _short(raised(error.get("type"), error.get("message")))


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _seconds(since: datetime, until: datetime) -> str:
    # The database's clock dates the run, and an answer's event what its worker knew of that clock: a hair apart.
    seconds = max(0.0, (until - since).total_seconds())
    return f"{seconds:.3f} s" if seconds < 60 else str(until - since).partition(".")[0]


def _plain(text: str) -> str:
    """Return text that stays on its line, whatever it holds."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
