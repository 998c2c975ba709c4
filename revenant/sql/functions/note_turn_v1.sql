-- Promise: notes what a worker is about to handle together; returns the places (from 1) of the entities to leave out: with a message under suspicion.
-- Locks: those of suspect_noted_v1; then the lane's own note.
create or replace function revenant.note_turn_v1(
    worker uuid, lane text, buckets smallint[], kinds text[], keys text[], firsts bigint[], lasts bigint[]
) returns setof integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    perform revenant.suspect_noted_v1(note_turn_v1.worker);
    insert into revenant.notes as n (
        worker, lane, backend_pid, backend_start, buckets, kinds, keys, firsts, lasts, noted_at
    )
    select note_turn_v1.worker, note_turn_v1.lane, a.pid, a.backend_start, note_turn_v1.buckets, note_turn_v1.kinds,
        note_turn_v1.keys, note_turn_v1.firsts, note_turn_v1.lasts, revenant.now()
    from pg_stat_get_activity(pg_backend_pid()) a
    on conflict on constraint notes_pkey do update
    set backend_pid = excluded.backend_pid, backend_start = excluded.backend_start, buckets = excluded.buckets,
        kinds = excluded.kinds, keys = excluded.keys, firsts = excluded.firsts, lasts = excluded.lasts,
        noted_at = excluded.noted_at;
    return query
    select distinct h.slot::integer
    from unnest(
        note_turn_v1.buckets, note_turn_v1.kinds, note_turn_v1.keys, note_turn_v1.firsts, note_turn_v1.lasts
    ) with ordinality as h (bucket, kind, key, first, last, slot)
    join revenant.suspects s on s.bucket = h.bucket and s.kind = h.kind and s.key = h.key
        and s.seq between h.first and h.last
    where s.worker <> note_turn_v1.worker;
end
$$;
