-- Promise: stores messages that become due later, by the database's clock; an id that is scheduled already stays as it is.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.schedule_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], delays double precision[], dues timestamptz[]
) returns void language sql volatile as $$
    insert into revenant.scheduled (bucket, kind, key, id, handler, args, digest, attempts, due)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts,
        coalesce(m.due, revenant.now() + make_interval(secs => m.delay))
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, delays, dues)
        as m (bucket, kind, key, id, handler, args, digest, attempts, delay, due)
    on conflict (bucket, id) do nothing
$$;
