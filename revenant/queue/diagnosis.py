"""From facts to findings: what is wrong with a database, and what to type; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from revenant.errors import SchemaMismatch
from revenant.queue.facts import Facts, Server, Traffic, served
from revenant.queue.rights import Rights
from revenant.sql import Missing, NewerCompatible, Old, SchemaStatus, require_schema

Status = Literal["ok", "warn", "fail"]
OLDEST_POSTGRES = 15
ENCODING = "UTF8"
CLIENT_CONNECTIONS = 2
"""What a sending process takes."""
MUCH_SKEW = 1.0
"""Seconds between our clock and the database's that are worth a word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `revenant check`; `cure` is what to type, empty where there is nothing to do."""

    check: str
    status: Status
    found: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Plans:
    """What is to run against the database: `kinds` (of the application, with `app` as one types it)."""

    connections: int
    """Connections that all worker processes of one command take."""
    kinds: Iterable[str] = ()
    app: str = "module:attribute"


def connections_of(
    *, lanes: int, jobs: int, processes: int, residences: int = 0, runners: int = 0, cells: int = 0
) -> int:
    """Return how many connections such workers take: lanes, desk and listener, and those of the job runner.

    `residences` are those of relaxed entities, `runners` those of workflows, and `cells` the processes for
    attempts that may kill theirs. Steps in transactions, and a worker that is cautious, take more.

    Example:
        >>> connections_of(lanes=4, jobs=1, processes=2)
        20
    """
    return processes * (lanes + residences + runners + cells + 2 + (jobs + 3 if jobs else 0))


def diagnose(facts: Facts, plans: Plans) -> Iterator[Finding]:
    """Yield one finding a check, in the order in which to mend them."""
    yield _version(facts.server)
    yield _encoding(facts.encoding)
    yield _writable(facts)
    yield _pooler(facts)
    yield _durable(facts.server)
    yield _room(facts, plans.connections)
    yield _schema(facts)
    if facts.rights is not None:
        yield _role(facts.rights)
    if facts.traffic is not None:
        yield from _served(facts.traffic, plans)
        yield from _versions(facts.traffic)
        yield _dead(facts.traffic)
        yield _stuck(facts.traffic)
        yield _jobs(facts.traffic)
        yield _clock(facts.traffic)


def _version(server: Server) -> Finding:
    found = f"PostgreSQL {server.version // 10_000}.{server.version % 10_000}"
    if server.version // 10_000 >= OLDEST_POSTGRES:
        return Finding("version", "ok", found)
    cure = f"Upgrade the server to PostgreSQL {OLDEST_POSTGRES} or newer"
    return Finding("version", "fail", f"{found} is too old", cure)


def _encoding(encoding: str) -> Finding:
    if encoding == ENCODING:
        return Finding("encoding", "ok", encoding)
    cure = "In psql: create database <name> encoding 'UTF8' template template0, and point DATABASE_URL at it"
    return Finding("encoding", "fail", f"The database is encoded in {encoding}, which does not hold any text", cure)


def _writable(facts: Facts) -> Finding:
    if not facts.server.read_only:
        return Finding("writable", "ok", "Takes writes")
    if facts.rights is not None and not (facts.rights.casts or facts.rights.serves):
        return Finding("writable", "ok", "Takes no writes, and this role makes none")
    cure = "Point DATABASE_URL at the primary, or add ?target_session_attrs=read-write"
    return Finding("writable", "fail", "Read-only: a standby, or default_transaction_read_only", cure)


def _pooler(facts: Facts) -> Finding:
    if facts.listens and not facts.shared_backends:
        return Finding("LISTEN", "ok", "Notifications arrive")
    cure = "Point DATABASE_URL past the pooler at Postgres itself, or set pool_mode = session"
    if facts.shared_backends:
        found = "A transaction pooler is in the way: two connections share one server process"
        return Finding("LISTEN", "fail", found, cure)
    return Finding("LISTEN", "fail", "LISTEN is silent: a transaction pooler or proxy is in the way", cure)


def _durable(server: Server) -> Finding:
    risky = [
        f"{name} = off"
        for name, on in (("fsync", server.fsync), ("full_page_writes", server.full_page_writes))
        if not on
    ]
    if server.synchronous_commit == "off":
        risky.append("synchronous_commit = off")
    if not risky:
        return Finding("durability", "ok", "A commit is on disk")
    names = ", ".join(entry.split()[0] for entry in risky)
    cure = "; ".join(f"alter system set {name.strip()} = on" for name in names.split(","))
    return Finding("durability", "warn", f"A crash can lose what was committed: {', '.join(risky)}", cure)


def _room(facts: Facts, for_workers: int) -> Finding:
    """Each limit less what others hold of it; a superuser is bound by max_connections alone."""
    server, rights = facts.server, facts.rights
    works = rights is None or rights.works
    needed, by = (for_workers, "the workers") if works else (CLIENT_CONNECTIONS, "a client")
    limits: dict[str, tuple[int, int]] = {
        "max_connections": (
            server.max_connections - (0 if server.superuser else server.reserved),
            server.in_all,
        )
    }
    if not server.superuser:
        limits["the role's connection limit"] = (server.role_limit, server.in_role)
        limits["the database's connection limit"] = (server.database_limit, server.in_database)
    rooms = {name: limit - others for name, (limit, others) in limits.items() if limit >= 0}
    tightest = min(rooms, key=lambda name: rooms[name])
    room = max(0, rooms[tightest])
    found = f"{needed} needed by {by}, {room} left by {tightest}"
    if needed > room:
        cure = f"Fewer --lanes, --jobs or --processes, or raise {tightest}" if works else f"Raise {tightest}"
        return Finding("connections", "fail", found, cure)
    return Finding("connections", "ok", found)


def _schema(facts: Facts) -> Finding:
    if facts.schema is None and facts.rights is not None and facts.rights.any:
        return Finding("schema", "ok", "Not looked at: this role may not read revenant.migrations, and need not")
    if facts.schema is None:
        return Finding("schema", "fail", facts.refusal or "Not known", "Grant the role USAGE on the schema revenant")
    try:
        require_schema(facts.schema)
    except SchemaMismatch as error:
        first = str(error).split(". ", maxsplit=1)[0]
        return Finding("schema", "fail", first, _schema_cure(facts.schema))
    newer = " (of a newer release, which suits this code)" if isinstance(facts.schema, NewerCompatible) else ""
    return Finding("schema", "ok", f"Up to date{newer}")


def _role(rights: Rights) -> Finding:
    if rights.any:
        return Finding("role", "ok", rights.words)
    cure = f"Grant {rights.role} usage on the schema revenant, and what docs/reference/sql.md names for its work"
    return Finding("role", "fail", rights.words, cure)


def _schema_cure(status: SchemaStatus) -> str:
    behind = isinstance(status, Missing | Old)
    return "revenant migrate" if behind else "Deploy the release that migrated this database"


def _served(traffic: Traffic, plans: Plans) -> Iterator[Finding]:
    alive = [worker for worker in traffic.workers if worker["alive"]]
    live = served(traffic.workers)
    unserved: Mapping[str, int] = {
        kind: traffic.waiting.get(kind, 0) for kind in sorted({*plans.kinds, *traffic.waiting}) if kind not in live
    }
    for kind, waiting in unserved.items():
        wait = f", and {_count(waiting, 'message')} wait{'s' if waiting == 1 else ''}" if waiting else ""
        yield Finding("workers", "fail", f"No live worker serves {kind}{wait}", _cure_unserved(kind, plans))
    if not unserved:
        draining = sum(worker["draining"] for worker in alive)
        found = f"{len(alive)} alive" + (f", {draining} of them draining" if draining else "")
        rest = "every known kind is served" if live else "nothing waits for one"
        yield Finding("workers", "ok", f"{found}; {rest}")


def _cure_unserved(kind: str, plans: Plans) -> str:
    if kind in plans.kinds:
        return f"revenant worker --app {plans.app}"
    removal = f"revenant mailbox bury {shlex.quote(kind)} --all --by WHO"
    return f"Start workers of an application that has {kind}; if there will be none, {removal}"


def _versions(traffic: Traffic) -> Iterator[Finding]:
    live = served(traffic.workers)
    for kind, entities, messages, vsn in traffic.newer:
        found = (
            f"{_count(messages, 'message')} of {_count(entities, f'{kind} entity', f'{kind} entities')} wait: their "
            f"state is of vsn {vsn}, and no live worker has {kind} beyond vsn {live[kind]}"
        )
        yield Finding("versions", "fail", found, f"Deploy workers whose {kind} has vsn {vsn}")
    if not traffic.newer:
        yield Finding("versions", "ok", "No message waits for newer code")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _dead(traffic: Traffic) -> Finding:
    if not traffic.dead:
        return Finding("dead letters", "ok", "None")
    cure = "revenant dead ls, then dead retry or dead drop"
    answered, left = traffic.answered, traffic.dead - traffic.answered
    parts = [
        f"{_count(left, 'message')} of which nobody was told" if left else "",
        f"{_count(answered, 'call')} whose callers were told (dead retry --all leaves those out)" if answered else "",
    ]
    return Finding("dead letters", "warn", "; ".join(filter(None, parts)), cure)


def _stuck(traffic: Traffic) -> Finding:
    failed = traffic.stuck.get("failed", 0)
    # That a run fails is an end like others, and may be what it is for; its errors are its application's.
    ends = f"{failed:,} failed within a day" if failed else ""
    stuck = {reason: count for reason, count in sorted(traffic.stuck.items()) if reason != "failed"}
    if not stuck:
        return Finding("runs", "ok", f"None is stuck; {ends}" if ends else "None is stuck")
    told = ", ".join(f"{count:,} {_REASONS.get(reason, reason)}" for reason, count in stuck.items())
    found = f"To look at: {told}{'; ' if ends else ''}{ends}"
    return Finding("runs", "warn", found, "revenant run stuck")


_REASONS = {
    "not undone": "that ended and left what was not undone",
    "no cell": "with an attempt that waits for a cell",
    "no version": "of a version that no live worker has",
    "no worker": "of a workflow that no live worker has",
    "unclaimed": "with an external step that nobody has claimed for ten minutes",
    "slow": "with an attempt under way for more than ten minutes",
}
"""As a person says them, where that is not the word itself."""


def _jobs(traffic: Traffic) -> Finding:
    if not traffic.jobs:
        return Finding("jobs", "ok", "None has been due for ten minutes")
    told = ", ".join(f"{one.jobs:,} of {one.task}, for {one.seconds / 60:,.0f} min" for one in traffic.jobs)
    cure = "revenant worker --jobs N, with an application whose Revenant(jobs=…) has these tasks"
    return Finding("jobs", "warn", f"Jobs are due and nobody runs them: {told}", cure)


def _clock(traffic: Traffic) -> Finding:
    found = f"This machine is {abs(traffic.skew):.1f} s {'ahead of' if traffic.skew > 0 else 'behind'} the database"
    if abs(traffic.skew) < MUCH_SKEW:
        return Finding("clock", "ok", found)
    return Finding("clock", "warn", f"{found}, whose clock decides what is due", "Check NTP on both machines")
