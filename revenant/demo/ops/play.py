"""Play: the demo of workflows from its first worker to its verdict.

Invariant: whatever ends it, its workers are stopped and, unless they are to be kept, its runs and ledgers removed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.demo.logbook import Logbook
from revenant.demo.ops import notice_book
from revenant.demo.ops.application import compensate
from revenant.demo.ops.books import COUNTS, Books
from revenant.demo.ops.cases import Cases
from revenant.demo.ops.desk import Desk
from revenant.demo.ops.ledger import Ledger
from revenant.demo.ops.notice_book import Notices
from revenant.demo.ops.result import OpsResult
from revenant.demo.plan import Plan
from revenant.demo.screen import Screen
from revenant.demo.verdict import SHOWN, Comparison, Verdict
from revenant.queue.session import session
from revenant.trial.crew import Crew
from revenant.trial.killer import Killer
from revenant.trial.latency import milliseconds, percentile
from revenant.trial.run import Run
from revenant.trial.stage import ROLE, clear, database, settings

APPLICATION = "revenant.demo.ops.application:app"
PAUSE_EVERY = 5000
"""Rows after which others get their turn, so that Ctrl-C is heard."""


async def play_ops(*, logbook: Logbook, workers: int, kill: int, keep: bool, screen: Screen) -> OpsResult:
    """Start a run for every late flight of the file, kill workers meanwhile, and compare; see `OpsResult`.

    Raises:
        DatabaseUnavailable: Postgres cannot be reached.
    """
    ledgers = Run(kind=Ledger.entity_kind)
    runs = Run(kind=compensate.kind, id=ledgers.id)
    expected = await balance(logbook)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(screen.say))
        if not keep:
            stack.push_async_callback(notice_book.erase, url, runs.id)
            stack.push_async_callback(clear, url, ledgers, screen.say)
            stack.push_async_callback(clear, url, runs, screen.say)
        look = await stack.enter_async_context(session(url, role=ROLE))
        crew = await stack.enter_async_context(Crew(app=APPLICATION, url=url, size=workers, say=screen.say))
        app = await stack.enter_async_context(
            Revenant(entities=[Ledger], workflows=[compensate], database_url=url, settings=settings())
        )
        await crew.start(look, runs.kind)
        name = f"desk {runs.id}"
        cases, desk = Cases(app=app, run=runs, desk=name), Desk(app=app, name=name)
        stack.push_async_callback(cases.stop)
        await desk.start()
        stack.push_async_callback(desk.stop)
        killer = Killer(crew=crew, say=screen.say)
        stack.push_async_callback(killer.stop)
        plan = Plan(rows=expected.claims, kills=kill, killer=killer, traffic=cases)
        screen.begin(expected.claims, "Compensating every late flight")
        began = time.perf_counter()
        flights = await _start(logbook, plan, cases, crew, screen)
        seconds = time.perf_counter() - began
        await killer.finish()
        notices = await notice_book.settled(look, runs.id, killed=kill, watch=crew.watch)
        crew.watch()
        screen.sum_up()
        verdict = await audit(look, ledgers, expected)
        return OpsResult(
            flights=flights,
            runs=cases.sent,
            seconds=round(seconds, 3),
            runs_per_second=round(cases.sent / seconds),
            unfinished=cases.sent - await runs.count(look, "completed"),
            approved=sum(record["approved"] for record in expected.records.values()),
            rejected=sum(record["rejected"] for record in expected.records.values()),
            bad_rows=screen.bad_rows,
            workers=workers,
            workers_died=crew.died,
            run=runs.id,
            **_of_verdict(verdict, notices, cases),
            **_of_cases(cases),
            **plan.figures(),
        )


async def balance(logbook: Logbook) -> Books:
    """Return what the file says that every ledger must say."""
    books = Books()
    for count, flight in enumerate(logbook.flights(lambda _: None)):
        books.add(flight)
        if count % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    return books


async def audit(connection: psycopg.AsyncConnection[Any], ledgers: Run, expected: Books) -> Verdict:
    """Compare each airline's committed ledger with what the file says."""
    comparison = Comparison(expected.records, counts=COUNTS)
    async for stored in ledgers.states(connection):
        comparison.add(stored.name, stored.state)
    return comparison.close()


async def _start(logbook: Logbook, plan: Plan, cases: Cases, crew: Crew, screen: Screen) -> int:
    """Start a run for every late flight, with the kills on the way; return how many flights there were."""
    books, flights = Books(), 0
    for flights, flight in enumerate(logbook.flights(screen.report), start=1):  # noqa: B007 # its last value is the count
        expected = books.add(flight)
        if expected is not None:
            await cases.send(flight, expected)
            plan.look()
            if cases.sent % 20 == 0:
                crew.watch()
                screen.advance(cases.sent)
    plan.catch_up()
    await cases.finish()
    screen.advance(cases.sent)
    return flights


def _of_verdict(verdict: Verdict, notices: Notices, cases: Cases) -> dict[str, Any]:
    return {
        "airlines": verdict.entities,
        "lost": verdict.lost + max(0, cases.sent - notices.claims),
        "doubled": verdict.doubled + notices.jobs - notices.claims,
        "mismatched": verdict.mismatched + cases.outcomes.wrong,
        "notices_sent": notices.sent,
        "notices_stalled": notices.running,
        "notices_waiting": notices.waiting,
        "differences": tuple([*verdict.differences, *cases.outcomes.differences][:SHOWN]),
    }


def _of_cases(cases: Cases) -> dict[str, Any]:
    outcomes = cases.outcomes
    return {
        "failed": outcomes.failed,
        "results_unknown": outcomes.unknown,
        "run_p50_ms": milliseconds(percentile(outcomes.latencies, 0.5)),
        "run_p99_ms": milliseconds(percentile(outcomes.latencies, 0.99)),
    }
