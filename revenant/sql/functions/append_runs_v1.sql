-- Promise: appends events to the streams of runs, each fenced by the events and the fence that its writer knows; or raises RV001 and writes nothing.
-- Locks: the heads' rows, in the order given, which is key order.
create or replace function revenant.append_runs_v1(
    worker uuid, buckets smallint[], kinds text[], keys text[], runs uuid[], streams uuid[],
    expected bigint[], seqs bigint[], fences bigint[], takes boolean[], owned boolean[],
    versions integer[], statuses text[], recoveries integer[], digests bytea[], origins text[], parents text[],
    waits text[], views text[], problems text[], keeps double precision[],
    slots integer[], event_seqs bigint[], types text[], ops integer[], ats timestamptz[], datas text[]
) returns void language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    written integer := 0;
    step integer;
    missing text;
begin
    update revenant.run_heads h
    set run = w.stream, seq = w.seq, fence = w.fence + w.take::integer, owner = case when w.owned then worker end,
        version = w.version, status = w.status, recoveries = w.recoveries,
        waits = coalesce(w.waits::jsonb, h.waits), view = coalesce(w.view::json, h.view), problem = w.problem,
        updated_at = moment,
        ended_at = case when w.status in ('completed', 'failed', 'cancelled') then moment end,
        expires_at = case
            when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
        end
    from unnest(
        buckets, kinds, keys, runs, streams, expected, seqs, fences, takes, owned, versions, statuses,
        append_runs_v1.recoveries, append_runs_v1.waits, views, problems, keeps
    ) as w (
        bucket, kind, key, run, stream, expected, seq, fence, take, owned, version, status,
        recoveries, waits, view, problem, keep
    )
    where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key and w.expected > 0
        and h.run = w.run and h.seq = w.expected and h.fence = w.fence;
    get diagnostics written = row_count;
    if written < cardinality(keys) then
        insert into revenant.run_heads (
            bucket, kind, key, run, version, status, seq, owner, fence, recoveries, digest, origin, parent,
            waits, view, problem, started_at, updated_at, ended_at, expires_at
        )
        select w.bucket, w.kind, w.key, w.stream, w.version, w.status, w.seq, case when w.owned then worker end,
            w.fence + w.take::integer, w.recoveries, w.digest, w.origin, w.parent::json,
            coalesce(w.waits::jsonb, '[]'), w.view::json, w.problem, moment, moment,
            case when w.status in ('completed', 'failed', 'cancelled') then moment end,
            case when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep) end
        from unnest(
            buckets, kinds, keys, streams, expected, seqs, fences, takes, owned, versions, statuses,
            append_runs_v1.recoveries, digests, origins, parents, append_runs_v1.waits, views, problems, keeps
        ) as w (
            bucket, kind, key, stream, expected, seq, fence, take, owned, version, status,
            recoveries, digest, origin, parent, waits, view, problem, keep
        )
        where w.expected = 0
        on conflict do nothing;
        get diagnostics step = row_count;
        written := written + step;
    end if;
    if written < cardinality(keys) then
        -- Those whose row this transaction has not written are the ones that somebody else has.
        select string_agg(w.slot::text, ',') into missing
        from unnest(buckets, kinds, keys) with ordinality as w (bucket, kind, key, slot)
        where not exists (
            select from revenant.run_heads h
            where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key
                and h.xmin = pg_current_xact_id()::xid
        );
        raise exception 'the streams of % runs are not as they were read', cardinality(keys) - written
            using errcode = 'RV001', detail = coalesce(missing, '');
    end if;
    insert into revenant.run_events (bucket, run, seq, type, op, at, data)
    select buckets[e.slot], streams[e.slot], e.seq, e.type, e.op, e.at, e.data::jsonb
    from unnest(slots, event_seqs, types, ops, ats, datas) as e (slot, seq, type, op, at, data);
end
$$;
