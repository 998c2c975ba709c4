-- Promise: as settle_v1, for one message of one entity, by look-ups that need no arrays.
-- Locks: none new; the entity's row and mailbox are those that claim_one_v1 or claim_v2 locked.
create or replace function revenant.settle_one_v1(
    tid text, bucket smallint, kind text, key text,
    expected bigint, version bigint, vsn integer, state text, applied bigint,
    message_tid text, seq bigint,
    reply_id uuid, reply_status text, reply_version bigint, reply_body text, reply_digest bytea, reply_ttl double precision
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    -- What idle_delete is reckoned from, and so by the clock that tests move.
    moment timestamptz := revenant.now();
begin
    -- Every row is reached by its ctid, as it was locked: no index is read, whatever the statistics say.
    if tid is not null then
        update revenant.entities e
        set version = settle_one_v1.version, vsn = settle_one_v1.vsn, state = settle_one_v1.state::jsonb,
            applied = case when e.recent_at < now() - make_interval(secs => 2) then e.recent else e.applied end,
            recent = case
                when e.recent_at < now() - make_interval(secs => 2) then greatest(e.recent, settle_one_v1.applied)
                else e.recent
            end,
            recent_at = case when e.recent_at < now() - make_interval(secs => 2) then now() else e.recent_at end,
            updated_at = moment
        where e.ctid = settle_one_v1.tid::tid and e.version = settle_one_v1.expected
            and e.bucket = settle_one_v1.bucket and e.kind = settle_one_v1.kind and e.key = settle_one_v1.key;
    else
        insert into revenant.entities (
            bucket, kind, key, version, vsn, state, applied, recent, created_at, updated_at
        )
        values (
            settle_one_v1.bucket, settle_one_v1.kind, settle_one_v1.key, settle_one_v1.version, settle_one_v1.vsn,
            settle_one_v1.state::jsonb, 0, settle_one_v1.applied, moment, moment
        )
        on conflict do nothing;
    end if;
    if not found then
        raise exception 'the rows of 1 entities are not as they were locked' using errcode = 'RV001';
    end if;
    delete from revenant.messages m where m.ctid = settle_one_v1.message_tid::tid and m.seq = settle_one_v1.seq;
    if not found then
        raise exception '1 messages have left their mailboxes' using errcode = 'RV001';
    end if;
    if reply_id is not null then
        insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
        values (
            settle_one_v1.bucket, reply_id, reply_status, reply_version, reply_body::json, reply_digest,
            now() + make_interval(secs => reply_ttl)
        );
    end if;
end
$$;
