-- Promise: as schedule_v1; returns the seconds until the earliest of these messages is due, for a wake-up after the commit.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.schedule_v2(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], delays double precision[], dues timestamptz[]
) returns double precision language sql volatile as $$
    with stored as (
        insert into revenant.scheduled (bucket, kind, key, id, handler, args, digest, attempts, due)
        select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts,
            coalesce(m.due, revenant.now() + make_interval(secs => m.delay))
        from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
            as m (bucket, kind, key, id, handler, args, digest, attempts, delay, due)
        on conflict (bucket, id) do nothing
        returning due
    )
    select extract(epoch from min(s.due) - revenant.now())::double precision from stored s
$$;
