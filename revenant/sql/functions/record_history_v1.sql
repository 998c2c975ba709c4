-- Promise: adds versions to the histories; before an entity's first of a day, also the state as it was before it.
-- Locks: none that anybody waits for (inserts only); the entities' rows are those that the turn has locked.
create or replace function revenant.record_history_v1(
    buckets smallint[], kinds text[], keys text[], seqs bigint[], versions bigint[], vsns integer[], states text[],
    messages uuid[], handlers text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    day timestamptz := date_trunc('day', moment at time zone 'UTC') at time zone 'UTC';
begin
    for i in 1 .. cardinality(keys) loop
        perform 1 from revenant.history h
        where h.bucket = buckets[i] and h.kind = kinds[i] and h.key = keys[i] and h.at >= day and h.at <= moment
        limit 1;
        if not found then
            insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state)
            select e.bucket, e.kind, e.key, moment, 0, e.version, e.vsn, e.state
            from revenant.entities e
            where e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
        end if;
        insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state, message, handler)
        values (
            buckets[i], kinds[i], keys[i], moment, seqs[i], versions[i], vsns[i], states[i]::jsonb,
            messages[i], handlers[i]
        );
    end loop;
end
$$;
