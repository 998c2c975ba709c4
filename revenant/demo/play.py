"""Play: the demo from its first worker to its verdict.

Invariant: whatever ends it, its workers are stopped and, unless they are to be kept, its entities removed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.demo.aircraft import Aircraft
from revenant.demo.fold import Fold
from revenant.demo.logbook import Logbook
from revenant.demo.plan import Plan
from revenant.demo.result import Result
from revenant.demo.screen import Screen
from revenant.demo.traffic import Sampled, Traffic
from revenant.demo.verdict import Comparison, Verdict
from revenant.queue.session import session
from revenant.trial.crew import Crew
from revenant.trial.killer import Killer
from revenant.trial.latency import milliseconds, percentile
from revenant.trial.run import Run
from revenant.trial.settling import settle
from revenant.trial.stage import ROLE, clear, database, settings

APPLICATION = "revenant.demo.application:app"
PAUSE_EVERY = 5000
"""Rows of the second reading after which others get their turn, so that Ctrl-C is heard."""


async def play(*, logbook: Logbook, rows: int, workers: int, kill: int, keep: bool, screen: Screen) -> Result:
    """Tell every flight of the file to its aircraft, kill workers meanwhile, and compare; see `Result`.

    `rows` is how many rows the file has, as `Logbook.check` counts them.

    Raises:
        DatabaseUnavailable: Postgres cannot be reached.
    """
    run = Run(kind=Aircraft.entity_kind)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(screen.say))
        if not keep:
            stack.push_async_callback(clear, url, run, screen.say)
        look = await stack.enter_async_context(session(url, role=ROLE))
        crew = await stack.enter_async_context(Crew(app=APPLICATION, url=url, size=workers, say=screen.say))
        app = await stack.enter_async_context(Revenant(entities=[Aircraft], database_url=url, settings=settings()))
        await crew.start(look, run.kind)
        traffic = Traffic(app=app, run=run)
        stack.push_async_callback(traffic.stop)
        killer = Killer(crew=crew, say=screen.say)
        stack.push_async_callback(killer.stop)
        plan = Plan(rows=rows, kills=kill, killer=killer, traffic=traffic)
        screen.begin(rows)
        began = time.perf_counter()
        await _send(logbook, plan, traffic, crew, screen)
        await killer.finish()
        left = await settle(look, run, watch=crew.watch)
        seconds = time.perf_counter() - began
        crew.watch()
        screen.sum_up()
        verdict = await verify(look, run, logbook)
        return Result(
            flights=traffic.sent,
            seconds=round(seconds, 3),
            messages_per_second=round(traffic.sent / seconds),
            bad_rows=screen.bad_rows,
            scheduled=left.scheduled,
            dead_letters=left.dead,
            workers=workers,
            workers_died=crew.died,
            run=run.id,
            **_of_verdict(verdict),
            **_of_sample(traffic.sampled),
            **plan.figures(),
        )


async def verify(connection: psycopg.AsyncConnection[Any], run: Run, logbook: Logbook) -> Verdict:
    """Read the file a second time, and compare each aircraft's committed state with what it says."""
    fold = Fold()
    for count, flight in enumerate(logbook.flights(lambda _: None)):
        fold.add(flight)
        if count % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    comparison = Comparison(fold.records)
    async for stored in run.states(connection):
        comparison.add(stored.name, stored.state)
    return comparison.close()


async def _send(logbook: Logbook, plan: Plan, traffic: Traffic, crew: Crew, screen: Screen) -> None:
    """Send the whole file, with the kills on the way."""
    for flight in logbook.flights(screen.report):
        await traffic.send(flight)
        plan.look()
        if traffic.sent % 100 == 0:
            crew.watch()
            screen.advance(traffic.sent)
    plan.catch_up()
    await traffic.finish()
    screen.advance(traffic.sent)


def _of_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "entities": verdict.entities,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "mismatched": verdict.mismatched,
        "differences": tuple(verdict.differences),
    }


def _of_sample(sampled: Sampled) -> dict[str, Any]:
    return {
        "calls": len(sampled.latencies),
        "calls_unknown": sampled.unknown,
        "out_of_order": sampled.out_of_order,
        "call_p50_ms": milliseconds(percentile(sampled.latencies, 0.5)),
        "call_p99_ms": milliseconds(percentile(sampled.latencies, 0.99)),
    }
