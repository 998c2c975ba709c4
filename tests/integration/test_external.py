"""External steps: claimed over SQL or the client by whoever has none of the code; ended once, by the claim that holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest

from revenant import Flow, Retry, step, workflow
from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import CallTimeout, RunCancelled, RunFailed, StaleClaim, Unstorable
from tests.flows import history, served, types
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
TASKS = "select count(*) from revenant.run_tasks"
CLAIM = "select token, workflow, run_id, attempt, idempotency_key, args from revenant.claim_step(%s, %s, %s)"


@step(external=True)
async def resize(picture: str, width: int) -> str:
    raise NotImplementedError


@workflow
async def thumbnail(flow: Flow, picture: str) -> str:
    return await flow.step(resize, picture, 120, retry=Retry(attempts=3, backoff=0.01))


@step(external=True, name="pick")
async def pick() -> Any:
    raise NotImplementedError


@workflow
async def picks(flow: Flow) -> Any:
    return await flow.step(pick)


async def claimed(connection: Connection, seconds: float = 30, holder: str = "me") -> Any:
    async def claim() -> Any:
        found = await rows(connection, CLAIM, "resize", holder, seconds)
        return found[0] if found else None

    return await eventually(claim, what="a step to claim")


async def test_a_step_is_claimed_and_completed_in_plain_sql(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, name, run_id, attempt, key, args = await claimed(connection)
        assert (name, run_id, attempt, args) == ("thumbnail", "c", 1, ["cat", 120])
        (scheduled,) = [data for type, data in await history(connection, "c") if type == "step.scheduled"]
        assert key == scheduled["key"]
        assert await rows(connection, CLAIM, "resize", "other", 30) == []
        await connection.execute("select revenant.complete_step(%s, '\"small cat\"')", (token,))
        assert await run.result(timeout=20) == "small cat"
    assert await value(connection, TASKS) == 0
    assert await types(connection, "c") == [
        "run.started", "step.scheduled", "attempt.started", "step.succeeded", "run.completed",
    ]  # fmt: skip


async def test_an_answer_counts_if_and_only_if_its_own_transaction_commits(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute("create table own (n int)")
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        for word, commits in (("no", False), ("yes", True)):
            async with connection.transaction(force_rollback=not commits):
                await connection.execute("insert into own values (1)")
                await connection.execute("select revenant.complete_step(%s, to_jsonb(%s::text))", (token, word))
        assert await run.result(timeout=20) == "yes"
    assert await value(connection, "select count(*) from own") == 1


@pytest.mark.parametrize("end", ["complete_step(%s, '1')", "fail_step(%s, 'no')", "renew_step(%s, 30)"])
async def test_a_claim_that_somebody_else_has_taken_over_is_refused(
    database: str, settings: Settings, connection: Connection, end: str
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        stale, *first = await claimed(connection, seconds=0.001)
        token, *second = await claimed(connection, holder="other")
        assert stale != token
        assert first == second, "the same attempt, under the same key"
        with pytest.raises(psycopg.DatabaseError, match="does not hold any more") as refused:
            await connection.execute(f"select revenant.{end}".encode(), (stale,))
        assert refused.value.sqlstate == "RV002"
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"
        with pytest.raises(psycopg.DatabaseError, match="does not hold any more"):
            await connection.execute(f"select revenant.{end}".encode(), (token,))


async def test_a_claim_past_its_time_is_good_while_nobody_else_has_the_step(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection, seconds=0.001)
        await connection.execute("select revenant.renew_step(%s, 60)", (token,))
        assert await rows(connection, CLAIM, "resize", "other", 30) == []
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"


@pytest.mark.parametrize(
    ("end", "other"),
    [
        ("complete_step(%s, '\"good\"')", "complete_step(%s, '\"bad\"')"),
        ("fail_step(%s, 'no')", "complete_step(%s, 'null')"),
    ],
)
async def test_the_same_answer_once_more_is_no_stale_claim_and_another_one_is(
    database: str, settings: Settings, connection: Connection, end: str, other: str
) -> None:
    """Whoever has not heard that it was taken says it again."""
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        for _ in range(3):
            await connection.execute(f"select revenant.{end}".encode(), (token,))
        with pytest.raises(psycopg.DatabaseError, match="does not hold any more"):
            await connection.execute(f"select revenant.{other}".encode(), (token,))
        if "complete" in end:
            assert await run.result(timeout=20) == "good"
        else:
            await claimed(connection)
    failed = [type for type in await types(connection, "c") if type == "attempt.failed"]
    assert len(failed) == ("fail" in end)
    kept = "select count(*) from revenant.step_answers"
    assert await value(connection, kept) == 1
    await connection.execute("update revenant.step_answers set at = at - interval '25 hours'")
    await connection.execute("select revenant.tidy_v2(100)")
    assert await value(connection, kept) == 0


async def test_an_answer_that_was_lost_on_its_way_back_is_given_again_by_the_client(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        async for found in app.external("resize", poll=0.02):
            ask = found._ask

            async def twice(question: Any, ask: Any = ask) -> Any:
                await ask(question)
                # As on a connection whose answer was lost: it is asked once more.
                return await ask(question)

            async with found:
                found._ask = twice
                await found.complete("good")
            break
        assert await run.result(timeout=20) == "good"


async def test_a_step_that_takes_everybody_down_who_claims_it_fails_and_is_not_given_out_for_ever(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        tokens = set()
        for attempt in (1, 2, 3):
            for _ in range(5):
                token, _, _, number, *_ = await claimed(connection, seconds=0.001)
                assert number == attempt
                tokens.add(token)
            # The sixth who asks gets nothing of it, until the next attempt is there.
            await eventually(
                lambda: value(connection, f"{TASKS} where held_until < clock_timestamp()"), what="its loss"
            )
            assert await rows(connection, CLAIM, "resize", "me", 30) == []
        with pytest.raises(RunFailed, match="claimed 5 times, and each claim was lost, the last one by me"):
            await run.result(timeout=20)
    assert len(tokens) == 15
    assert await value(connection, TASKS) == 0


async def test_a_step_that_nobody_claims_for_long_is_listed(
    database: str, settings: Settings, connection: Connection
) -> None:
    stuck = "select reason, problem from revenant.stuck"
    ago = "interval '11 minutes'"
    older = f"update revenant.run_tasks set made_at = made_at - {ago}, held_until = held_until - {ago}"
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        await eventually(lambda: value(connection, TASKS))
        assert await rows(connection, stuck) == []
        await connection.execute(older.encode())
        assert await rows(connection, stuck) == [("unclaimed", "Nobody has claimed external step resize.")]
        await claimed(connection)
        assert await rows(connection, stuck) == []
        await connection.execute(older.encode())
        ((reason, problem),) = await rows(connection, stuck)
        assert (reason, "resize by me was lost" in problem) == ("unclaimed", True)
        await run.cancel()
        await eventually(lambda: value(connection, "select count(*) = 0 from revenant.run_tasks"))
        assert await rows(connection, stuck) == []


async def test_blocking_code_takes_steps_by_the_same_names(
    database: str, settings: Settings, connection: Connection
) -> None:
    def program(app: Revenant) -> Any:
        with app.sync() as rv:
            steps = rv.external("resize", holder="me", claim=30, poll=0.02)
            with next(steps) as found:
                assert (found.name, found.run_id, found.attempt, found.args) == ("resize", "c", 1, ["cat", 120])
                found.fail("not today")
            with pytest.raises(LookupError), next(steps) as found:
                raise LookupError("broken")
            found = next(steps)
            found.renew(30)
            found.complete("good")
            with pytest.raises(StaleClaim):
                found.complete("bad")
            return found.attempt, rv.run(thumbnail, "c").result(timeout=20)

    async with served(database, settings, thumbnail) as app:
        await app.start(thumbnail, "cat", id="c")
        assert await asyncio.to_thread(program, app) == (3, "good")
    assert {
        await value(
            connection,
            "select data -> 'error' ->> 'type' from revenant.run_events where op = 1 and type = 'attempt.failed' limit 1",
        )
    } == {"ExternalFailure"}


async def test_two_who_claim_at_once_get_different_steps_the_oldest_first(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        for name in ("a", "b"):
            await app.start(thumbnail, name, id=name)
            await eventually(
                lambda name=name: value(connection, "select true from revenant.run_tasks where key = %s", name)
            )
        async with (
            await psycopg.AsyncConnection.connect(database) as one,
            await psycopg.AsyncConnection.connect(database) as two,
        ):
            # Neither has committed: they do not wait for each other.
            found = [(await rows(own, CLAIM, "resize", "x", 30))[0][2] for own in (one, two)]
        assert found == ["a", "b"]


async def test_a_failed_attempt_is_followed_by_others_and_the_last_error_reaches_the_code(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        keys = set()
        for number in (1, 2, 3):
            token, _, _, attempt, key, _ = await claimed(connection)
            assert attempt == number
            keys.add(key)
            await connection.execute("select revenant.fail_step(%s, %s)", (token, f"no {number}"))
        with pytest.raises(RunFailed, match="no 3"):
            await run.result(timeout=20)
    assert len(keys) == 1


async def test_a_failure_that_is_not_retryable_is_the_last(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        await connection.execute("select revenant.fail_step(%s, 'no such file', false, 'Missing')", (token,))
        with pytest.raises(RunFailed, match="Missing: no such file"):
            await run.result(timeout=20)


async def test_a_result_of_another_shape_fails_the_attempt_and_not_the_run(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        await connection.execute("select revenant.complete_step(%s, '[1]')", (token,))
        token, _, _, attempt, *_ = await claimed(connection)
        assert attempt == 2
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"
    (failed,) = [data for type, data in await history(connection, "c") if type == "attempt.failed"]
    assert failed["error"]["type"] == "InvalidResult"


async def test_json_that_cannot_be_recorded_is_refused_at_once(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        with pytest.raises(psycopg.DataError):
            await connection.execute(r"""select revenant.complete_step(%s, '"\u0000"')""", (token,))
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_at_every_isolation_level_a_step_is_ended_once(
    database: str, settings: Settings, connection: Connection, level: str
) -> None:
    end = "select revenant.complete_step(%s, '\"good\"')"
    async with (
        served(database, settings, thumbnail) as app,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as other,
    ):
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        await other.execute(f"begin isolation level {level}".encode())
        assert await value(other, TASKS) == 1
        async with connection.transaction():
            await connection.execute(f"set transaction isolation level {level}".encode())
            await connection.execute(end, (token,))
        with pytest.raises(psycopg.errors.SerializationFailure):
            await other.execute(end, (token,))
        await other.execute("rollback")
        # Run anew, it is the same answer once more.
        await other.execute(f"begin isolation level {level}".encode())
        await other.execute(end, (token,))
        await other.execute("commit")
        assert await run.result(timeout=20) == "good"
    assert (await types(connection, "c")).count("step.succeeded") == 1


TOO_DEEP, TOO_LARGE = "[" * 151 + "]" * 151, "[1" + "0" * 309 + ".5]"


@pytest.mark.parametrize("result", [TOO_DEEP, TOO_LARGE, "1e5000", '{"a": [-1e309]}'])
async def test_a_result_that_no_history_can_be_read_with_is_refused_and_the_claim_holds(
    database: str, settings: Settings, connection: Connection, result: str
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="the claim holds") as refused:
            await connection.execute("select revenant.complete_step(%s, %s::jsonb)", (token, result))
        assert refused.value.diag.message_hint
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"


@pytest.mark.parametrize("result", ["[" * 150 + "]" * 150, "1" + "0" * 308, f'["{"9" * 400}"]'])
async def test_a_result_at_the_edge_of_what_can_be_recorded_is_taken(
    database: str, settings: Settings, connection: Connection, result: str
) -> None:
    async with served(database, settings, picks) as app:
        run = await app.start(picks, id="c")
        found = await eventually(lambda: rows(connection, CLAIM, "pick", "me", 30), what="a step to claim")
        await connection.execute("select revenant.complete_step(%s, %s::jsonb)", (found[0][0], result))
        assert await run.result(timeout=20) == json.loads(result)


@pytest.mark.parametrize("seconds", ["null", "'NaN'", "'infinity'", "1e15", "-1", "0"])
async def test_a_step_is_held_for_a_time_and_for_nothing_else(
    database: str, settings: Settings, connection: Connection, seconds: str
) -> None:
    async with served(database, settings, thumbnail) as app:
        await app.start(thumbnail, "cat", id="c")
        await eventually(lambda: value(connection, f"{TASKS} where token is null"), what="a step")
        for name, holder in (("null", "'me'"), ("''", "'me'"), ("'resize'", "null"), ("'resize'", "''")):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="nothing was claimed"):
                await connection.execute(f"select revenant.claim_step({name}, {holder}, 30)")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="nothing was changed"):
            await connection.execute(f"select revenant.claim_step('resize', 'me', {seconds})")
        token, *_ = await claimed(connection)
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="nothing was changed") as refused:
            await connection.execute(f"select revenant.renew_step(%s, {seconds})", (token,))
        assert refused.value.diag.message_hint
        assert await value(connection, "select claims from revenant.run_tasks") == 1


async def test_a_failure_of_which_nothing_is_known_is_one_that_is_tried_again(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        await connection.execute("select revenant.fail_step(%s, null, null, null)", (token,))
        token, _, _, attempt, *_ = await claimed(connection)
        assert attempt == 2
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        assert await run.result(timeout=20) == "good"
    (failed,) = [data for type, data in await history(connection, "c") if type == "attempt.failed"]
    assert failed["error"]["type"] == "ExternalFailure"
    assert failed["error"]["message"] == "it was not said why"


async def test_an_attempt_that_nobody_ends_in_time_has_failed(
    database: str, settings: Settings, connection: Connection
) -> None:
    @workflow
    async def hasty(flow: Flow) -> str:
        return await flow.step(resize, "cat", 1, timeout=0.3, retry=Retry(attempts=2, backoff=0.01))

    async with served(database, settings, hasty) as app:
        run = await app.start(hasty, id="h")
        token, *_ = await claimed(connection)
        with pytest.raises(RunFailed, match=r"longer than 0\.3 s"):
            await run.result(timeout=30)
        with pytest.raises(psycopg.DatabaseError, match="does not hold any more"):
            await connection.execute("select revenant.complete_step(%s, '\"late\"')", (token,))
    assert (await types(connection, "h")).count("attempt.failed") == 2
    assert await value(connection, TASKS) == 0


async def test_the_time_out_of_an_attempt_that_ended_is_taken_back(
    database: str, settings: Settings, connection: Connection
) -> None:
    @workflow
    async def patient(flow: Flow) -> str:
        made = await flow.step(resize, "cat", 1, timeout=3600)
        await flow.signal("never")
        return made

    async with served(database, settings, patient) as app:
        run = await app.start(patient, id="p")
        token, *_ = await claimed(connection)
        assert await value(connection, "select count(*) from revenant.scheduled") == 1
        await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
        await eventually(lambda: value(connection, "select count(*) = 0 from revenant.scheduled"))
        await run.cancel()


async def test_a_cancelled_run_takes_its_steps_back(database: str, settings: Settings, connection: Connection) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
        with pytest.raises(psycopg.DatabaseError, match="does not hold any more"):
            await connection.execute("select revenant.renew_step(%s)", (token,))


@workflow
async def waits(flow: Flow) -> Any:
    return await flow.signal("word")


async def test_whoever_ends_a_step_and_does_not_commit_holds_up_that_run_alone(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail, waits) as app:
        run = await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
        others = [await app.start(waits, id=f"w{number}") for number in range(8)]
        async with await psycopg.AsyncConnection.connect(database) as slow:
            await slow.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
            with pytest.raises(CallTimeout):
                await run.cancel(timeout=0.5)
            for other in others:
                await other.signal("word", 1, timeout=20)
                assert await other.result(timeout=20) == 1
            await slow.rollback()
        with pytest.raises(RunCancelled):
            await run.result(timeout=30)
    assert await value(connection, TASKS) == 0


async def test_a_step_that_is_ended_while_no_worker_lives_counts_when_one_comes(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        await app.start(thumbnail, "cat", id="c")
        token, *_ = await claimed(connection)
    await connection.execute("select revenant.complete_step(%s, '\"good\"')", (token,))
    with pytest.raises(psycopg.DatabaseError, match="does not hold any more"):
        await connection.execute("select revenant.fail_step(%s, 'twice')", (token,))
    async with served(database, settings, thumbnail) as app:
        assert await app.run(thumbnail, "c").result(timeout=20) == "good"


async def test_a_process_without_the_code_takes_steps_over_the_client(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with (
        served(database, settings, thumbnail) as app,
        Revenant(database_url=database, settings=settings) as stranger,
    ):
        runs = [await app.start(thumbnail, name, id=name) for name in ("a", "b", "c")]
        seen: list[tuple[str, int]] = []
        async with asyncio.timeout(60):
            async for found in stranger.external("resize", poll=0.02):
                async with found:
                    seen.append((found.run_id, found.attempt))
                    if found.run_id == "a" and found.attempt == 1:
                        raise_it = ValueError("b\0d")
                        await found.fail(raise_it)
                    else:
                        with pytest.raises(Unstorable):
                            await found.complete(object())
                        await found.complete(f"{found.args[1]}-{found.args[0]}")
                if len(seen) == 4:
                    break
        assert [await run.result(timeout=20) for run in runs] == ["120-a", "120-b", "120-c"]
    assert sorted(seen) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]


async def test_an_error_inside_a_claim_fails_the_attempt(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")

        async def work() -> None:
            async for found in app.external("resize", poll=0.02):
                async with found:
                    raise LookupError("no such")

        for _ in range(3):
            with pytest.raises(LookupError, match="no such"):
                await asyncio.wait_for(work(), 30)
        with pytest.raises(RunFailed, match="LookupError: no such"):
            await run.result(timeout=20)


async def test_a_claim_is_renewed_while_its_step_is_worked_at(
    database: str, settings: Settings, connection: Connection
) -> None:
    until = "select held_until from revenant.run_tasks"
    async with served(database, settings, thumbnail) as app:
        run = await app.start(thumbnail, "cat", id="c")
        async for found in app.external("resize", claim=0.5, poll=0.02):
            async with found:
                first = await value(connection, until)
                await eventually(
                    lambda first=first: value(connection, "select held_until > %s from revenant.run_tasks", first)
                )
                await found.complete("good")
            break
        assert await run.result(timeout=20) == "good"
        with pytest.raises(StaleClaim):
            await found.complete("again")
