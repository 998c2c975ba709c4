-- Promise: gives one external step of that name to the holder for so many seconds: the longest waiting one that nobody holds; no row if there is none.
-- Locks: that step's row, which nobody waits for.
create or replace function revenant.claim_step(name text, holder text, seconds double precision default 30)
returns table (
    token uuid, workflow text, run_id text, attempt integer, idempotency_key text, args json, held_until timestamptz
) language plpgsql volatile as $$
#variable_conflict use_column
begin
    return query
    update revenant.run_tasks t
    set token = gen_random_uuid(), holder = claim_step.holder,
        held_until = revenant.now() + make_interval(secs => claim_step.seconds)
    from (
        select f.bucket, f.run, f.op from revenant.run_tasks f
        where f.type = 'step' and f.name = claim_step.name
            and (f.held_until is null or f.held_until <= revenant.now())
        order by f.made_at limit 1 for update skip locked
    ) as f
    where t.bucket = f.bucket and t.run = f.run and t.op = f.op
    returning t.token, substr(t.kind, 5), t.key, t.attempt, t.idempotency, t.input, t.held_until;
end
$$;
