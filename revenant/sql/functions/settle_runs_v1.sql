-- Promise: takes messages that runs have read out of their mailboxes, each as it was read, and writes replies; or raises RV001 and writes nothing.
-- Locks: the messages' rows, in the order given; inside an append, which holds the heads of their runs.
create or replace function revenant.settle_runs_v1(
    message_tids text[], seqs bigint[], message_ids uuid[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    step integer;
begin
    if cardinality(seqs) > 0 then
        -- By its place, and by nothing that an index has, as settle_v1. By its id, too: a run's messages are read in an
        -- earlier transaction, and after a crash of the server a number, and a place, are given away again.
        delete from revenant.messages m
        using unnest(message_tids::tid[], seqs, message_ids) as c (tid, seq, id)
        where m.ctid = c.tid and m.seq is not distinct from c.seq and m.id is not distinct from c.id;
        get diagnostics step = row_count;
        if step < cardinality(seqs) then
            raise exception '% messages have left their mailboxes', cardinality(seqs) - step using errcode = 'RV001';
        end if;
    end if;
    if cardinality(reply_ids) > 0 then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        select get_byte(uuid_send(r.id), 15), r.id, r.status, r.version, r.body::json, r.digest,
            now() + make_interval(secs => r.ttl)
        from unnest(reply_ids, reply_statuses, reply_versions, reply_bodies, reply_digests, reply_ttls)
            as r (id, status, version, body, digest, ttl);
    end if;
end
$$;
