-- Promise: fires reminders that are as they were read, each in one step with its next due time; returns wake-up payloads.
-- Locks: the reminders' rows, SKIP LOCKED, in the order given: it waits for nobody.
create or replace function revenant.fire_reminders_v1(
    buckets smallint[], kinds text[], keys text[], names text[], marks text[], counts integer[], nexts timestamptz[]
) returns setof text language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    fired revenant.reminders[] := '{}';
    held revenant.reminders;
begin
    for i in 1 .. cardinality(keys) loop
        -- The row's xmin is the mark of the state that was read: another worker's firing, or a new setting, changes it.
        select r.* into held from revenant.reminders r
        where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i]
            and r.xmin::text = marks[i]
        for update skip locked;
        continue when not found;
        if nexts[i] is null then
            delete from revenant.reminders r
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i];
        else
            update revenant.reminders r
            set due = nexts[i], fired_at = case when counts[i] > 0 then revenant.now() else r.fired_at end
            where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i] and r.name = names[i];
        end if;
        for n in 1 .. counts[i] loop
            fired := fired || held;
        end loop;
    end loop;
    return query
    select revenant.send_v1(
        array_agg(f.to_bucket), array_agg(f.to_kind), array_agg(f.to_key),
        array_agg(revenant.new_id_v1(f.to_bucket)), array_agg(f.handler), array_agg(f.args::text),
        array_agg(null::text), array_agg(null::bytea)
    )
    from unnest(fired) as f
    having count(*) > 0;
end
$$;
