-- Promise: gives one external step of that name to the holder for so many seconds: the longest waiting one that nobody holds; no row if there is none. An attempt whose claims were lost five times has failed instead.
-- Locks: the rows of the steps that it looks at, which nobody waits for; where an attempt has failed, the instance-wide NOTIFY lock during your commit.
create or replace function revenant.claim_step(name text, holder text, seconds double precision default 30)
returns table (
    token uuid, workflow text, run_id text, attempt integer, idempotency_key text, args json, held_until timestamptz
) language plpgsql volatile as $$
#variable_conflict use_column
declare
    most constant integer := 5;
    task revenant.run_tasks;
    span constant interval := revenant.hold_time_v1(seconds);
begin
    if (claim_step.name <> '' and claim_step.holder <> '') is not true then
        raise exception 'a step is claimed by its name, and by somebody; nothing was claimed'
            using errcode = '22023', hint = 'Name the step, and say who you are: lists and errors tell it to people.';
    end if;
    loop
        select f.* into task from revenant.run_tasks f
        where f.type = 'step' and f.name = claim_step.name
            and (f.held_until is null or f.held_until <= revenant.now())
        order by f.made_at limit 1 for update skip locked;
        if not found then
            return;
        end if;
        exit when task.claims < most;
        -- What takes everybody down who claims it is not given to the next one for ever.
        delete from revenant.run_tasks t where t.bucket = task.bucket and t.run = task.run and t.op = task.op;
        perform revenant.cast(task.kind, task.key, 'step', json_build_object(
            'run', task.run, 'op', task.op, 'attempt', task.attempt, 'status', 'error', 'retryable', true,
            'error', json_build_object('error', 'RunFailed', 'type', 'ClaimsLost', 'message', format(
                'it was claimed %s times, and each claim was lost, the last one by %s', task.claims, task.holder
            ))
        ));
    end loop;
    return query
    update revenant.run_tasks t
    set token = encode(set_byte(uuid_send(gen_random_uuid()), 15, task.bucket), 'hex')::uuid,
        holder = claim_step.holder, claims = t.claims + 1,
        held_until = revenant.now() + span
    where t.bucket = task.bucket and t.run = task.run and t.op = task.op
    returning t.token, substr(t.kind, 5), t.key, t.attempt, t.idempotency, t.input, t.held_until;
end
$$;
