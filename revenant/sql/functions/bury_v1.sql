-- Promise: keeps casts that failed for the last time as dead letters.
-- Locks: none that anybody waits for (inserts only).
create or replace function revenant.bury_v1(
    buckets smallint[], kinds text[], keys text[], ids uuid[], handlers text[], args text[], digests bytea[],
    attempts smallint[], errors text[]
) returns void language sql volatile as $$
    insert into revenant.dead (bucket, kind, key, id, handler, args, digest, attempts, error, sent_at)
    select m.bucket, m.kind, m.key, m.id, m.handler, m.args::json, m.digest, m.attempts, m.error::json, now()
    from unnest(buckets, kinds, keys, ids, handlers, args, digests, attempts, errors)
        as m (bucket, kind, key, id, handler, args, digest, attempts, error)
    on conflict (bucket, id) do update set error = excluded.error, attempts = excluded.attempts, died_at = now()
$$;
