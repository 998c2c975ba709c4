-- Promise: as note_suspect_v1; one that has not beaten for as long as that takes, and had the message so noted, has died of it as well.
-- Locks: the message's row in suspects.
create or replace function revenant.note_suspect_v2(
    worker uuid, bucket smallint, kind text, key text, seq bigint, id uuid
) returns integer language plpgsql volatile as $$
declare
    counted integer;
begin
    -- It has to outlive this process, not the server.
    perform set_config('synchronous_commit', 'off', true);
    insert into revenant.suspects as s (bucket, id, kind, key, seq, worker)
    values (
        note_suspect_v2.bucket, note_suspect_v2.id, note_suspect_v2.kind, note_suspect_v2.key, note_suspect_v2.seq,
        note_suspect_v2.worker
    )
    on conflict on constraint suspects_pkey do update
    set worker = excluded.worker, seq = excluded.seq, noted_at = revenant.now(),
        deaths = s.deaths + case
            -- A worker that left in good order has no row; one that lives only failed to commit.
            when s.worker <> excluded.worker and not revenant.alive_v1(s.worker)
                and exists (select from revenant.workers w where w.id = s.worker) then 1
            else 0
        end
    returning s.deaths into counted;
    return counted;
end
$$;
