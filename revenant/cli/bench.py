"""`revenant bench`: what calls and drained messages cost, beside plain SQL in the same run."""

from __future__ import annotations

import json

import click

from revenant.bench.calls import calls_as_json, measure_calls
from revenant.bench.drain import drain_as_json, measure_drain
from revenant.bench.screen import say, show_calls, show_drain
from revenant.cli.option import option
from revenant.trial.stage import perform

_workers = option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
_as_json = option("--json", "as_json", is_flag=True, envvar="REVENANT_BENCH_JSON", help="One JSON object, no table.")


@click.group()
def bench() -> None:
    """Measure what users run, on DATABASE_URL or the embedded Postgres, and plain SQL beside it.

    Entities and tables of the benchmark are its own, and removed at the end. Exits with 1 when the sums are wrong.
    """


@bench.command()
@option("--callers", type=click.IntRange(1), default=64, show_default=True, help="Callers at once.")
@option("--entities", type=click.IntRange(1), default=1000, show_default=True, help="Entities called.")
@option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
    help="Seconds of calls, and as many of plain SQL.",
)  # fmt: skip
@option(
    "--hold-snapshot", type=click.FloatRange(0), default=0.0,
    help="Measure once more after so many seconds of traffic under another session's snapshot.",
)  # fmt: skip
@_workers
@_as_json
def calls(*, callers: int, entities: int, seconds: float, hold_snapshot: float, workers: int, as_json: bool) -> None:
    """Measure calls: each caller waits for its receipt, then calls again."""
    result = perform(
        measure_calls(callers=callers, entities=entities, seconds=seconds, workers=workers, hold=hold_snapshot, say=say)
    )
    if as_json:
        click.echo(json.dumps(calls_as_json(result)))
    else:
        show_calls(result)
    if not result.sound:
        raise click.exceptions.Exit(1)


@bench.command()
@option("--messages", type=click.IntRange(1), default=100_000, show_default=True, help="Casts to drain.")
@option("--entities", type=click.IntRange(1), default=50_000, show_default=True, help="Entities told.")
@_workers
@_as_json
def drain(messages: int, entities: int, workers: int, as_json: bool) -> None:
    """Measure how fast a backlog of casts is handled."""
    result = perform(measure_drain(messages=messages, entities=entities, workers=workers, say=say))
    if as_json:
        click.echo(json.dumps(drain_as_json(result)))
    else:
        show_drain(result)
    if not result.sound:
        raise click.exceptions.Exit(1)
