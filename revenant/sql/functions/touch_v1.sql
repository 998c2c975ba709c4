-- Promise: notes that messages reached these entities, where the last note of it is older than its slack (seconds).
-- Locks: the entities' rows, SKIP LOCKED, in the order given; as a rule the turn holds them already.
create or replace function revenant.touch_v1(
    buckets smallint[], kinds text[], keys text[], slacks double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
begin
    for i in 1 .. cardinality(keys) loop
        perform from revenant.entities e
        where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i]
            and greatest(e.updated_at, e.touched_at) < moment - make_interval(secs => slacks[i])
        for no key update skip locked;
        if found then
            update revenant.entities e set touched_at = moment
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
        end if;
    end loop;
end
$$;
