-- Promise: fires schedules that are as they were read, each in one step with its next due time; returns wake-up payloads.
-- Locks: the schedules' rows, SKIP LOCKED, in the order given: it waits for nobody.
create or replace function revenant.fire_schedules_v1(
    names text[], digests bytea[], dues timestamptz[], counts integer[], nexts timestamptz[]
) returns setof text language plpgsql volatile as $$
declare
    fired revenant.schedules[] := '{}';
    held revenant.schedules;
begin
    for i in 1 .. cardinality(names) loop
        select s.* into held from revenant.schedules s
        where s.name = names[i] and s.digest = digests[i] and s.due = dues[i]
        for update skip locked;
        continue when not found;
        update revenant.schedules s
        set due = nexts[i], fired_at = case when counts[i] > 0 then revenant.now() else s.fired_at end
        where s.name = names[i];
        for n in 1 .. counts[i] loop
            fired := fired || held;
        end loop;
    end loop;
    return query
    select revenant.send_v1(
        array_agg(f.bucket), array_agg(f.kind), array_agg(f.key),
        array_agg(revenant.new_id_v1(f.bucket)), array_agg(f.handler), array_agg(f.args::text),
        array_agg(null::text), array_agg(null::bytea)
    )
    from unnest(fired) as f
    having count(*) > 0;
end
$$;
