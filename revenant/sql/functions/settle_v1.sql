-- Promise: writes what a turn did: states (fenced by version), consumed messages, replies; or raises RV001 and writes nothing.
-- Locks: none new; entity rows and mailboxes are those that claim_v1 locked.
create or replace function revenant.settle_v1(
    tids text[], buckets smallint[], kinds text[], keys text[],
    expected bigint[], versions bigint[], vsns integer[], states text[], applied bigint[],
    message_tids text[], seqs bigint[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    for i in 1 .. cardinality(keys) loop
        if tids[i] is null then
            insert into revenant.entities (bucket, kind, key, version, vsn, state, applied)
            values (buckets[i], kinds[i], keys[i], versions[i], vsns[i], states[i]::jsonb, applied[i])
            on conflict do nothing;
        elsif states[i] is null then
            delete from revenant.entities e where e.ctid = tids[i]::tid and e.version = expected[i];
        else
            update revenant.entities e
            set version = versions[i], vsn = vsns[i], state = states[i]::jsonb,
                applied = greatest(e.applied, settle_v1.applied[i]), updated_at = now()
            where e.ctid = tids[i]::tid and e.version = expected[i]
                and e.bucket = buckets[i] and e.kind = kinds[i] and e.key = keys[i];
        end if;
        if not found then
            raise exception 'the row of %(%) is not at version %', kinds[i], keys[i], expected[i]
                using errcode = 'RV001';
        end if;
    end loop;
    for i in 1 .. cardinality(seqs) loop
        delete from revenant.messages m where m.ctid = message_tids[i]::tid and m.seq = seqs[i];
        if not found then
            raise exception 'message number % has left its mailbox', seqs[i] using errcode = 'RV001';
        end if;
    end loop;
    if cardinality(reply_ids) > 0 then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        select get_byte(uuid_send(r.id), 15), r.id, r.status, r.version, r.body::json, r.digest,
            now() + make_interval(secs => r.ttl)
        from unnest(reply_ids, reply_statuses, reply_versions, reply_bodies, reply_digests, reply_ttls)
            as r (id, status, version, body, digest, ttl);
    end if;
end
$$;
