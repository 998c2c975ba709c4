"""`revenant bench`: what calls and drained messages cost beside plain SQL, recoveries, and the library's own time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol, TypeVar

import click

from revenant.bench.calls import calls_as_json, measure_calls
from revenant.bench.crowd import CROWDS, Crowd, crowd_as_json, measure_crowd
from revenant.bench.drain import drain_as_json, measure_drain
from revenant.bench.durability import durability_as_json, measure_durability
from revenant.bench.memory import measure_memory, memory_as_json
from revenant.bench.overhead import measure_overhead, overhead_as_json
from revenant.bench.recovery import measure_recovery, recovery_as_json
from revenant.bench.screen import (
    say,
    show_calls,
    show_crowd,
    show_drain,
    show_durability,
    show_memory,
    show_overhead,
    show_recovery,
    show_sleepers,
    show_workflows,
)
from revenant.bench.sleepers import measure_sleepers, sleepers_as_json
from revenant.bench.tally import Tally
from revenant.bench.workflows import measure_workflows, workflows_as_json
from revenant.cli.option import option
from revenant.trial.stage import perform

_workers = option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
_as_json = option("--json", "as_json", is_flag=True, envvar="REVENANT_BENCH_JSON", help="One JSON object, no table.")


class _Summed(Protocol):
    @property
    def tally(self) -> Tally: ...


R = TypeVar("R", bound=_Summed)


def _tell(result: R, as_json: Callable[[R], dict[str, object]] | None, show: Callable[[R], None]) -> None:
    """Print the figures; exit with 1 when the sums are wrong."""
    if as_json is not None:
        click.echo(json.dumps(as_json(result)))
    else:
        show(result)
    if not result.tally.sound:
        raise click.exceptions.Exit(1)


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
    _tell(result, calls_as_json if as_json else None, show_calls)


@bench.command()
@option("--messages", type=click.IntRange(1), default=100_000, show_default=True, help="Casts to drain.")
@option("--entities", type=click.IntRange(1), default=50_000, show_default=True, help="Entities told.")
@_workers
@_as_json
def drain(messages: int, entities: int, workers: int, as_json: bool) -> None:
    """Measure how fast a backlog of casts is handled."""
    result = perform(measure_drain(messages=messages, entities=entities, workers=workers, say=say))
    _tell(result, drain_as_json if as_json else None, show_drain)


@bench.command()
@option("--messages", type=click.IntRange(1), default=100_000, show_default=True, help="Messages of the crowd.")
@option("--entities", type=click.IntRange(1), default=50_000, show_default=True, help="Entities told.")
@option(
    "--of", type=click.Choice(CROWDS), default=CROWDS[0], show_default=True,
    help="What they are: timers due at one instant, casts left over, or casts sent meanwhile.",
)  # fmt: skip
@option("--callers", type=click.IntRange(1), default=8, show_default=True, help="Callers at once, of other entities.")
@option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
    help="Seconds of calls without the crowd: half before it, half after it.",
)  # fmt: skip
@_workers
@_as_json
def crowd(
    *, messages: int, entities: int, of: Crowd, callers: int, seconds: float, workers: int, as_json: bool
) -> None:
    """Measure callers beside a crowd of messages for which nobody waits, and how fast it goes.

    With --json: drained_*, alone_* (without it), beside_* (with it), kept (share of calls a second), slower (times the
    p50).
    """
    result = perform(
        measure_crowd(
            of=of, messages=messages, entities=entities, callers=callers, seconds=seconds, workers=workers, say=say
        )
    )
    _tell(result, crowd_as_json if as_json else None, show_crowd)


@bench.command()
@option("--kills", type=click.IntRange(1), default=20, show_default=True, help="Workers killed, one after the other.")
@option("--workers", type=click.IntRange(2), default=2, show_default=True, help="Worker processes alive at a kill.")
@option("--entities", type=click.IntRange(1), default=200, show_default=True, help="Entities called.")
@_as_json
def recovery(kills: int, workers: int, entities: int, as_json: bool) -> None:
    """Measure how soon another worker replies after a SIGKILL, while callers call."""
    result = perform(measure_recovery(kills=kills, workers=workers, entities=entities, say=say))
    _tell(result, recovery_as_json if as_json else None, show_recovery)


@bench.command()
@option("--callers", type=click.IntRange(1), default=64, show_default=True, help="Callers at once.")
@option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True,
    help="Seconds of calls of each durability, by all callers and by one.",
)  # fmt: skip
@option("--messages", type=click.IntRange(1), default=1000, show_default=True, help="Messages to a state of 256 KiB.")
@_as_json
def durability(*, callers: int, seconds: float, messages: int, as_json: bool) -> None:
    """Measure strict entities beside such as are written every 5 seconds."""
    result = perform(measure_durability(callers=callers, seconds=seconds, messages=messages, say=say))
    _tell(result, durability_as_json if as_json else None, show_durability)


@bench.command()
@option("--entities", type=click.IntRange(10), default=200_000, show_default=True, help="Entities visited, once each.")
@_as_json
def memory(entities: int, as_json: bool) -> None:
    """Measure a worker's memory while it serves far more entities than are in use at a time."""
    result = perform(measure_memory(entities=entities, say=say))
    _tell(result, memory_as_json if as_json else None, show_memory)


@bench.command()
@option("--messages", type=click.IntRange(1), default=20_000, show_default=True, help="Calls, in rounds of 64.")
@_as_json
def overhead(messages: int, as_json: bool) -> None:
    """Measure the library's own processor time for a call, pydantic included, without any database."""
    result = perform(measure_overhead(messages=messages))
    _tell(result, overhead_as_json if as_json else None, show_overhead)


@bench.command()
@option("--runs", type=click.IntRange(1), default=10_000, show_default=True, help="Runs measured.")
@option("--in-flight", type=click.IntRange(1), default=256, show_default=True, help="Runs at a time.")
@option("--steps", type=click.IntRange(1), default=3, show_default=True, help="Steps of each run.")
@option("--items", type=click.IntRange(1), default=10_000, show_default=True, help="Items of the run that maps.")
@_as_json
def workflows(*, runs: int, in_flight: int, steps: int, items: int, as_json: bool) -> None:
    """Measure runs of workflows beside as many plain commits, one run alone, and one over many items."""
    result = perform(measure_workflows(runs=runs, in_flight=in_flight, steps=steps, items=items, say=say))
    _tell(result, workflows_as_json if as_json else None, show_workflows)


@bench.command()
@option("--runs", type=click.IntRange(10), default=100_000, show_default=True, help="Runs that sleep.")
@_as_json
def sleepers(runs: int, as_json: bool) -> None:
    """Measure a worker's memory while far more runs sleep than are under way."""
    result = perform(measure_sleepers(runs=runs, say=say))
    _tell(result, sleepers_as_json if as_json else None, show_sleepers)
