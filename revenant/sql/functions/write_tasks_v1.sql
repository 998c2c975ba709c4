-- Promise: removes tasks that nobody has to do any more, and then writes new ones; a task that is there is written anew, unclaimed.
-- Locks: the tasks' rows, in the order given, waited for 100 ms each; inside an append, which holds the heads of their runs.
create or replace function revenant.write_tasks_v1(
    gone_buckets smallint[], gone_runs uuid[], gone_ops integer[],
    buckets smallint[], runs uuid[], ops integer[], kinds text[], keys text[], types text[], names text[],
    attempts integer[], assignees text[], inputs text[], dues timestamptz[], idempotencies text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
-- Whoever ends a step does so in a transaction of their own, however long: the other runs of the append do not wait.
set lock_timeout = '100ms' as $$
begin
    for i in 1 .. cardinality(gone_ops) loop
        delete from revenant.run_tasks t
        where t.bucket = gone_buckets[i] and t.run = gone_runs[i] and t.op = gone_ops[i];
    end loop;
    insert into revenant.run_tasks (
        bucket, run, op, kind, key, type, name, attempt, assignee, input, made_at, due, idempotency
    )
    select w.bucket, w.run, w.op, w.kind, w.key, w.type, w.name, w.attempt, w.assignee, w.input::json,
        revenant.now(), w.due, w.idempotency
    from unnest(
        buckets, runs, ops, kinds, keys, types, names, attempts, assignees, inputs, dues, idempotencies
    ) as w (bucket, run, op, kind, key, type, name, attempt, assignee, input, due, idempotency)
    on conflict (bucket, run, op) do update
    set attempt = excluded.attempt, assignee = excluded.assignee, input = excluded.input, due = excluded.due,
        made_at = excluded.made_at, token = null, holder = null, held_until = null;
end
$$;
