-- Promise: wakes the callers if this worker still owns all the named entities; else returns the slots that it has lost, and wakes nobody.
-- Locks: the instance-wide NOTIFY lock, for microseconds; nothing is written.
create or replace function revenant.answer_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], fences bigint[], channels text[], payloads text[]
) returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    return query
    select h.slot::integer
    from unnest(buckets, kinds, keys, fences) with ordinality as h (bucket, kind, key, fence, slot)
    where (
        select r.owner = worker and r.fence = h.fence from revenant.residents r
        where r.bucket = h.bucket and r.kind = h.kind and r.key = h.key
        limit 1
    ) is not true;
    if not found then
        perform pg_notify(w.channel, w.payload) from unnest(channels, payloads) as w (channel, payload);
    end if;
end
$$;
