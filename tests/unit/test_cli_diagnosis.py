"""From facts to findings: each thing that can be wrong, on its own."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from revenant.queue.diagnosis import Finding, Plans, connections_of, diagnose
from revenant.queue.facts import Facts, Newer, Server, Traffic, WaitingJobs, served
from revenant.sql import Current, Diverged, Missing, NewerCompatible, NewerIncompatible, Old, SchemaStatus

SERVER = Server(
    version=150004,
    read_only=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    max_connections=100,
    reserved=3,
    superuser=False,
    role_limit=-1,
    database_limit=-1,
    in_all=5,
    in_role=4,
    in_database=4,
)
QUIET = Traffic(workers=[], waiting={}, newer=[], dead=0, skew=0.0)
SOUND = Facts(SERVER, shared_backends=False, listens=True, schema=Current(1), traffic=QUIET)
PLANS = Plans(connections=10)


def findings(facts: Facts, plans: Plans = PLANS) -> dict[str, Finding]:
    found = list(diagnose(facts, plans))
    assert all(finding.cure for finding in found if finding.status != "ok")
    return {finding.check: finding for finding in reversed(found)}


def statuses(facts: Facts, plans: Plans = PLANS) -> dict[str, str]:
    return {name: finding.status for name, finding in findings(facts, plans).items() if finding.status != "ok"}


def worker(kind: str, *, alive: bool = True, draining: bool = False) -> dict[str, Any]:
    return {"kinds": {kind: {"vsn": 1}}, "alive": alive, "draining": draining}


def test_a_sound_database_has_nothing_to_mend() -> None:
    assert statuses(SOUND) == {}


@pytest.mark.parametrize(
    ("change", "check", "status"),
    [
        ({"version": 140011}, "version", "fail"),
        ({"read_only": True}, "writable", "fail"),
        ({"fsync": False}, "durability", "warn"),
        ({"full_page_writes": False}, "durability", "warn"),
        ({"synchronous_commit": "off"}, "durability", "warn"),
        ({"max_connections": 15}, "connections", "fail"),
        ({"role_limit": 13}, "connections", "fail"),
        ({"database_limit": 0}, "connections", "fail"),
    ],
)
def test_what_is_wrong_with_a_server_is_found(change: dict[str, Any], check: str, status: str) -> None:
    assert statuses(replace(SOUND, server=replace(SERVER, **change))) == {check: status}


def test_limits_of_roles_and_databases_do_not_bind_a_superuser() -> None:
    server = replace(SERVER, superuser=True, role_limit=1, database_limit=1)
    assert statuses(replace(SOUND, server=server)) == {}


def test_a_pooler_is_found_by_its_silence_or_its_shared_backends() -> None:
    assert statuses(replace(SOUND, listens=False)) == {"LISTEN": "fail"}
    assert statuses(replace(SOUND, shared_backends=True)) == {"LISTEN": "fail"}


@pytest.mark.parametrize(
    ("schema", "cure"),
    [
        (Missing(), "revenant migrate"),
        (Old(1, 2), "revenant migrate"),
        (NewerIncompatible(3, 2), "Deploy"),
        (Diverged(1, "edited"), "Deploy"),
        (None, "Grant"),
    ],
)
def test_a_schema_that_does_not_fit_is_found(schema: SchemaStatus | None, cure: str) -> None:
    facts = replace(SOUND, schema=schema, traffic=None)
    assert statuses(facts) == {"schema": "fail"}
    assert findings(facts)["schema"].cure.startswith(cure)


def test_a_newer_schema_that_suits_passes() -> None:
    assert statuses(replace(SOUND, schema=NewerCompatible(2))) == {}


@pytest.mark.parametrize(
    ("workers", "status"),
    [
        ([], "fail"),
        ([worker("Other")], "fail"),
        ([worker("Account", alive=False)], "fail"),
        ([worker("Account", draining=True)], "fail"),
        ([worker("Account", draining=True), worker("Account")], "ok"),
    ],
)
def test_a_kind_without_a_live_worker_is_found(workers: list[dict[str, Any]], status: str) -> None:
    for facts, plans in (
        (replace(SOUND, traffic=replace(QUIET, workers=workers, waiting={"Account": 3})), PLANS),
        (
            replace(SOUND, traffic=replace(QUIET, workers=workers)),
            Plans(connections=1, kinds=["Account"], app="shop:app"),
        ),
    ):
        assert findings(facts, plans)["workers"].status == status


def test_state_that_is_newer_than_every_live_worker_is_found_with_what_waits_for_it() -> None:
    newer = [Newer("Account", entities=1, messages=1200, vsn=3)]
    traffic = replace(QUIET, workers=[worker("Account")], waiting={"Account": 1200}, newer=newer)
    found = findings(replace(SOUND, traffic=traffic))
    assert (found["workers"].status, found["versions"].status) == ("ok", "fail")
    assert found["versions"].found == (
        "1,200 messages of 1 Account entity wait: their state is of vsn 3, and no live worker has Account beyond vsn 1"
    )
    assert found["versions"].cure == "Deploy workers whose Account has vsn 3"


def test_only_live_workers_count_for_what_is_served() -> None:
    old, new = worker("Account"), {"kinds": {"Account": {"vsn": 2}}, "draining": False}
    assert served([old, {**new, "alive": True}]) == {"Account": 2}
    assert served([old, {**new, "alive": False}, {**new, "alive": True, "draining": True}]) == {"Account": 1}


def test_what_to_type_for_messages_of_a_kind_that_nobody_has_takes_them_out() -> None:
    traffic = replace(QUIET, waiting={"O'Hara": 1, "Account": 2})
    plans = Plans(connections=1, kinds=["Account"], app="shop:app")
    known, unknown = [one for one in diagnose(replace(SOUND, traffic=traffic), plans) if one.check == "workers"]
    assert (known.found, known.cure) == (
        "No live worker serves Account, and 2 messages wait", "revenant worker --app shop:app",
    )  # fmt: skip
    assert unknown.found == "No live worker serves O'Hara, and 1 message waits"
    assert unknown.cure.endswith("revenant mailbox bury " + shlex.quote("O'Hara") + " --all --by WHO")


def test_dead_letters_are_counted_as_retry_all_counts_them() -> None:
    def found(dead: int, answered: int) -> str:
        facts = replace(SOUND, traffic=replace(QUIET, dead=dead, answered=answered))
        return findings(facts)["dead letters"].found

    assert found(15, 4) == (
        "11 messages of which nobody was told; 4 calls whose callers were told (dead retry --all leaves those out)"
    )
    assert found(1, 0) == "1 message of which nobody was told"
    assert found(1, 1) == "1 call whose callers were told (dead retry --all leaves those out)"


def test_dead_letters_and_a_wrong_clock_are_warnings() -> None:
    facts = replace(SOUND, traffic=replace(QUIET, dead=2, skew=-7.0))
    assert statuses(facts) == {"dead letters": "warn", "clock": "warn"}
    assert "7.0 s behind" in findings(facts)["clock"].found


def test_jobs_that_nobody_runs_are_a_warning() -> None:
    left = [WaitingJobs("mail", 1_200, 7_300.0), WaitingJobs("bill", 1, 640.0)]
    found = findings(replace(SOUND, traffic=replace(QUIET, jobs=left)))["jobs"]
    assert (found.status, found.found) == (
        "warn", "Jobs are due and nobody runs them: 1,200 of mail, for 122 min, 1 of bill, for 11 min",
    )  # fmt: skip
    assert "--jobs" in found.cure


def test_runs_that_failed_are_told_and_are_no_warning() -> None:
    facts = replace(SOUND, traffic=replace(QUIET, stuck={"failed": 1_200}))
    assert findings(facts)["runs"].status == "ok"
    assert findings(facts)["runs"].found == "None is stuck; 1,200 failed within a day"
    left = findings(replace(SOUND, traffic=replace(QUIET, stuck={"failed": 3, "not undone": 2})))["runs"]
    assert (left.status, left.cure) == ("warn", "revenant run stuck")
    assert left.found == "To look at: 2 that ended and left what was not undone; 3 failed within a day"
    mixed = findings(replace(SOUND, traffic=replace(QUIET, stuck={"failed": 3, "blocked": 1})))["runs"]
    assert (mixed.status, mixed.found) == (
        "warn",
        "To look at: 1 blocked; 3 failed within a day",
    )


def test_runs_that_do_not_go_on_are_a_warning_that_says_why() -> None:
    facts = replace(SOUND, traffic=replace(QUIET, stuck={"blocked": 2, "no version": 1}))
    assert statuses(facts) == {"runs": "warn"}
    found = findings(facts)["runs"]
    assert found.found.endswith("2 blocked, 1 of a version that no live worker has")
    assert found.cure == "revenant run stuck"


def test_a_worker_s_connections_are_counted() -> None:
    assert connections_of(lanes=4, jobs=0, processes=1) == 6
    assert connections_of(lanes=2, jobs=1, processes=3) == 24
    assert connections_of(lanes=4, jobs=0, processes=2, residences=2, runners=2) == 20
    assert connections_of(lanes=4, jobs=0, processes=2, runners=2, cells=3) == 22
