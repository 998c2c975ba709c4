"""Play: the demo from its first worker to its verdict.

Invariant: whatever ends it, its workers are stopped and, unless they are to be kept, its entities removed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.demo.aircraft import Aircraft
from revenant.demo.fold import Fold
from revenant.demo.logbook import Logbook
from revenant.demo.result import Result
from revenant.demo.screen import Screen
from revenant.demo.traffic import Traffic
from revenant.demo.verdict import Comparison, Verdict
from revenant.trial.crew import Crew, Killed
from revenant.trial.latency import milliseconds, percentile
from revenant.trial.run import Leftovers, Run
from revenant.trial.settling import settle
from revenant.trial.stage import clear, connected, database, settings

APPLICATION = "revenant.demo.application:app"
KILL_FROM, KILL_WITHIN = 0.4, 0.3
"""The first worker is killed when this share of the file is sent, the others spread over the next share."""
PAUSE_EVERY = 5000
"""Rows of the second reading after which others get their turn, so that Ctrl-C is heard."""


@dataclass(slots=True)
class _Kills:
    count: int = 0
    first: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    on_the_way: int = 0
    recovering: list[asyncio.Task[None]] = field(default_factory=list)


async def play(*, path: Path, workers: int, kill: int, keep: bool, screen: Screen) -> Result:
    """Tell every flight of the file to its aircraft, kill workers meanwhile, and compare; see `Result`.

    Raises:
        ConfigurationError: the file or the environment is not fit.
        DatabaseUnavailable: Postgres cannot be reached.
    """
    logbook = Logbook(path)
    rows = await asyncio.to_thread(logbook.check)
    run = Run(kind=Aircraft.entity_kind)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(screen.say))
        if not keep:
            stack.push_async_callback(clear, url, run, screen.say)
        look = await stack.enter_async_context(connected(url))
        crew = await stack.enter_async_context(Crew(app=APPLICATION, url=url, size=workers, say=screen.say))
        app = await stack.enter_async_context(
            Revenant(entities=[Aircraft], database_url=url, settings=settings())
        )
        await crew.start(look, run.kind)
        traffic = Traffic(app=app, run=run)
        stack.push_async_callback(traffic.stop)
        screen.begin(rows)
        began = time.perf_counter()
        kills = await _send(logbook, rows, kill, traffic, crew, screen)
        left = await settle(look, run, watch=crew.watch)
        seconds = time.perf_counter() - began
        crew.watch()
        screen.sum_up()
        verdict = await verify(look, run, path)
        return _result(run, workers, seconds, traffic, crew, kills, left, verdict, screen)


async def verify(connection: psycopg.AsyncConnection[Any], run: Run, path: Path) -> Verdict:
    """Read the file a second time, and compare each aircraft's committed state with what it says."""
    fold = Fold()
    for count, flight in enumerate(Logbook(path).flights(lambda _: None)):
        fold.add(flight)
        if count % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    comparison = Comparison(fold.records)
    async for stored in run.states(connection):
        comparison.add(stored.name, stored.state)
    return comparison.close()


async def _send(
    logbook: Logbook, rows: int, kill: int, traffic: Traffic, crew: Crew, screen: Screen
) -> _Kills:
    """Send the whole file; kill workers on the way, the rest of them at the end where rows were passed over."""
    due = [max(1, int(rows * (KILL_FROM + KILL_WITHIN * number / kill))) for number in range(kill)]
    kills = _Kills()
    for flight in logbook.flights(screen.report):
        await traffic.send(flight)
        if due and traffic.sent >= due[0]:
            due.pop(0)
            _kill(traffic, crew, kills, screen)
        if traffic.sent % 100 == 0:
            crew.watch()
            screen.advance(traffic.sent)
    while due and traffic.sent:
        due.pop(0)
        await _kill(traffic, crew, kills, screen)
    await traffic.finish()
    await asyncio.gather(*kills.recovering)
    screen.advance(traffic.sent)
    return kills


def _kill(traffic: Traffic, crew: Crew, kills: _Kills, screen: Screen) -> None:
    """Kill one worker; sending goes on while the recovery is measured."""
    kills.on_the_way = kills.on_the_way or traffic.on_the_way
    killed = crew.kill()
    kills.count += 1
    kills.recovering.append(asyncio.create_task(_recover(killed, traffic, kills, screen)))


async def _recover(killed: Killed, traffic: Traffic, kills: _Kills, screen: Screen) -> None:
    first, last = await traffic.recovery(killed.at)
    kills.first.append(first)
    kills.all.append(last)
    screen.say(f"Killed worker {killed.pid} with SIGKILL; the next reply came after {first * 1000:.0f} ms.")


def _result(
    run: Run,
    workers: int,
    seconds: float,
    traffic: Traffic,
    crew: Crew,
    kills: _Kills,
    left: Leftovers,
    verdict: Verdict,
    screen: Screen,
) -> Result:
    sampled = traffic.sampled
    return Result(
        flights=traffic.sent,
        entities=verdict.entities,
        lost=verdict.lost,
        doubled=verdict.doubled,
        mismatched=verdict.mismatched,
        killed=kills.count,
        seconds=round(seconds, 3),
        messages_per_second=round(traffic.sent / seconds),
        calls=len(sampled.latencies),
        calls_unknown=sampled.unknown,
        out_of_order=sampled.out_of_order,
        call_p50_ms=milliseconds(percentile(sampled.latencies, 0.5)),
        call_p99_ms=milliseconds(percentile(sampled.latencies, 0.99)),
        recovery_ms=milliseconds(max(kills.first, default=None)),
        recovery_all_ms=milliseconds(max(kills.all, default=None)),
        on_the_way_at_kill=kills.on_the_way,
        bad_rows=screen.bad_rows,
        scheduled=left.scheduled,
        dead_letters=left.dead,
        workers=workers,
        workers_died=crew.died,
        run=run.id,
        differences=tuple(verdict.differences),
    )
