-- Promise: writes what a turn did: states (fenced by version), consumed messages, replies; or raises RV001 and writes nothing.
-- Locks: none new; entity rows and mailboxes are those that claim_v1 locked.
create or replace function revenant.settle_v1(
    tids text[], buckets smallint[], kinds text[], keys text[],
    expected bigint[], versions bigint[], vsns integer[], states text[], applied bigint[],
    message_tids text[], seqs bigint[],
    reply_ids uuid[], reply_statuses text[], reply_versions bigint[], reply_bodies text[],
    reply_digests bytea[], reply_ttls double precision[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    -- What idle_delete is reckoned from, and so by the clock that tests move; once, and not for each row.
    moment timestamptz := revenant.now();
    written integer := 0;
    step integer;
begin
    -- Every row is reached by its ctid, as it was locked: no index is read, whatever the statistics say. What else is
    -- compared is so with `is not distinct from`: `=` on what an index has makes reading all of that a way to join.
    if cardinality(keys) > 0 then
        update revenant.entities e
        set version = w.version, vsn = w.vsn, state = w.state::jsonb,
            applied = case when e.recent_at < now() - make_interval(secs => 2) then e.recent else e.applied end,
            recent = case
                when e.recent_at < now() - make_interval(secs => 2) then greatest(e.recent, w.applied) else e.recent
            end,
            recent_at = case when e.recent_at < now() - make_interval(secs => 2) then now() else e.recent_at end,
            updated_at = moment
        from unnest(tids::tid[], buckets, kinds, keys, expected, versions, settle_v1.vsns, states, settle_v1.applied)
            as w (tid, bucket, kind, key, expected, version, vsn, state, applied)
        where e.ctid = w.tid and e.version = w.expected and w.state is not null
            and (e.bucket, e.kind, e.key) is not distinct from (w.bucket, w.kind, w.key);
        get diagnostics written = row_count;
        if written < cardinality(keys) then
            insert into revenant.entities (
                bucket, kind, key, version, vsn, state, applied, recent, created_at, updated_at
            )
            select w.bucket, w.kind, w.key, w.version, w.vsn, w.state::jsonb, 0, w.applied, moment, moment
            from unnest(tids::tid[], buckets, kinds, keys, versions, settle_v1.vsns, states, settle_v1.applied)
                as w (tid, bucket, kind, key, version, vsn, state, applied)
            where w.tid is null
            on conflict do nothing;
            get diagnostics step = row_count;
            written := written + step;
            delete from revenant.entities e
            using unnest(tids::tid[], expected, states) as w (tid, expected, state)
            where e.ctid = w.tid and e.version = w.expected and w.state is null;
            get diagnostics step = row_count;
            written := written + step;
            if step > 0 then
                -- Workers of before 0002 do not know of reminders. Those that this turn has set itself stay.
                for i in 1 .. cardinality(keys) loop
                    continue when states[i] is not null;
                    delete from revenant.reminders r
                    where r.bucket = buckets[i] and r.kind = kinds[i] and r.key = keys[i]
                        and r.xmin::text <> pg_current_xact_id()::xid::text;
                end loop;
            end if;
        end if;
        if written < cardinality(keys) then
            raise exception 'the rows of % entities are not as they were locked', cardinality(keys) - written
                using errcode = 'RV001';
        end if;
    end if;
    delete from revenant.messages m
    using unnest(message_tids::tid[], seqs) as c (tid, seq)
    where m.ctid = c.tid and m.seq is not distinct from c.seq;
    get diagnostics step = row_count;
    if step < cardinality(seqs) then
        raise exception '% messages have left their mailboxes', cardinality(seqs) - step using errcode = 'RV001';
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
