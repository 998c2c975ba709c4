-- Promise: appends events to the streams of runs, each fenced by the events and the fence that its writer knows; or raises RV001 and writes nothing.
-- Locks: the heads' rows, in the order given, which is key order.
create or replace function revenant.append_runs_v2(
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
    written bigint[];
    begun uuid[];
    missing text[];
begin
    -- Each row is looked up by itself, behind a limit, and reached by its ctid: a join over the key would be planned by
    -- how many runs there were at the session's first append, and may go through all of them. A statement for each run
    -- would be dearer still: it prepares the table's many checks anew.
    with changed as (
        update revenant.run_heads h
        set run = w.stream, seq = w.seq, fence = w.fence + w.take::integer, owner = case when w.owned then worker end,
            version = w.version, status = w.status, recoveries = w.recoveries,
            waits = coalesce(w.waits::jsonb, h.waits), view = coalesce(w.view::json, h.view), problem = w.problem,
            updated_at = moment,
            ended_at = case when w.status in ('completed', 'failed', 'cancelled') then moment end,
            expires_at = case
                when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
            end
        from (
            select w.*, r.tid
            from unnest(
                buckets, kinds, keys, runs, streams, expected, seqs, fences, takes, owned, versions, statuses,
                append_runs_v2.recoveries, append_runs_v2.waits, views, problems, keeps
            ) with ordinality as w (
                bucket, kind, key, run, stream, expected, seq, fence, take, owned, version, status,
                recoveries, waits, view, problem, keep, slot
            )
            cross join lateral (
                select r.ctid as tid from revenant.run_heads r
                where r.bucket = w.bucket and r.kind = w.kind and r.key = w.key
                limit 1
            ) r
            where w.expected > 0
        ) w
        where h.ctid = w.tid and h.run = w.run and h.seq = w.expected and h.fence = w.fence
        returning w.slot
    )
    select coalesce(array_agg(c.slot), '{}') into written from changed c;
    if cardinality(written) < cardinality(keys) then
        with added as (
            insert into revenant.run_heads (
                bucket, kind, key, run, version, status, seq, owner, fence, recoveries, digest, origin, parent,
                waits, view, problem, started_at, updated_at, ended_at, expires_at
            )
            select w.bucket, w.kind, w.key, w.stream, w.version, w.status, w.seq, case when w.owned then worker end,
                w.fence + w.take::integer, w.recoveries, w.digest, w.origin, w.parent::json,
                coalesce(w.waits::jsonb, '[]'), w.view::json, w.problem, moment, moment,
                case when w.status in ('completed', 'failed', 'cancelled') then moment end,
                case
                    when w.status in ('completed', 'failed', 'cancelled') then moment + make_interval(secs => w.keep)
                end
            from unnest(
                buckets, kinds, keys, streams, expected, seqs, fences, takes, owned, versions, statuses,
                append_runs_v2.recoveries, digests, origins, parents, append_runs_v2.waits, views, problems, keeps
            ) as w (
                bucket, kind, key, stream, expected, seq, fence, take, owned, version, status,
                recoveries, digest, origin, parent, waits, view, problem, keep
            )
            where w.expected = 0
            on conflict do nothing
            returning run
        )
        select coalesce(array_agg(a.run), '{}') into begun from added a;
        if cardinality(written) + cardinality(begun) < cardinality(keys) then
            select array_agg(w.slot) into missing
            from unnest(streams, expected) with ordinality as w (stream, expected, slot)
            where case when w.expected = 0 then w.stream <> all (begun) else w.slot <> all (written) end;
            raise exception 'the streams of % runs are not as they were read', cardinality(missing)
                using errcode = 'RV001', detail = array_to_string(missing, ',');
        end if;
    end if;
    insert into revenant.run_events (bucket, run, seq, type, op, at, data)
    select buckets[e.slot], streams[e.slot], e.seq, e.type, e.op, e.at, e.data::jsonb
    from unnest(slots, event_seqs, types, ops, ats, datas) as e (slot, seq, type, op, at, data);
end
$$;
