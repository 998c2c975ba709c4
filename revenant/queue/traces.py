"""Traces: which trace a message belongs to, stored beside it in the same transaction; nothing where nobody traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg

from revenant import telemetry
from revenant.queue.script import array, columns, run_script
from revenant.sql import statement
from revenant.telemetry import Trace

_COLUMNS = ("trace_ids", "traceparents")


def traces_of(ids: Iterable[str]) -> list[Trace]:
    """Return the traces that leave with these messages."""
    return [] if telemetry.carrier is None else telemetry.carrier.traces(ids)


def traced(script: LiteralString, traces: Sequence[Trace]) -> LiteralString:
    """Return the script, one transaction without a `commit` in it, with the statement that stores these traces."""
    return script + statement("keep_traces") if traces else script


def trace_columns(traces: Sequence[Trace]) -> dict[str, str]:
    """Return the parameters of `keep_traces`."""
    return columns(traces, _COLUMNS) if traces else {}


async def keep_traces(connection: psycopg.AsyncConnection[Any], traces: Sequence[Trace]) -> None:
    """Store traces, in the transaction that runs."""
    if traces:
        await run_script(connection, statement("keep_traces"), trace_columns(traces))


async def read_traces(connection: psycopg.AsyncConnection[Any], ids: Sequence[str]) -> None:
    """Hand what was stored with these messages to the carrier; the rows stay until somebody commits the messages."""
    (rows,) = await run_script(connection, statement("read_traces"), {"ids": array(ids)})
    if telemetry.carrier is not None:
        telemetry.carrier.arrive(rows)


async def take_traces(connection: psycopg.AsyncConnection[Any], ids: Sequence[str]) -> None:
    """Hand what was stored with these messages to the carrier; the rows go with the turn's commit."""
    (rows,) = await run_script(connection, statement("take_traces"), {"ids": array(ids)})
    if telemetry.carrier is not None:
        telemetry.carrier.arrive(rows)
