-- Promise: locks the named entities and returns a row for each, or fewer where one is busy; it waits `patience` ms for a lock, then raises 55P03.
-- Locks: the entities' rows FOR NO KEY UPDATE, an advisory lock for one without a row; in key order where it waits, else SKIP LOCKED.
create or replace function revenant.lock_v1(buckets smallint[], kinds text[], keys text[], patience integer)
returns table (slot integer, tid text, version bigint, vsn integer, state text) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set lock_timeout = 0
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wanted record;
    held record;
    ours boolean;
begin
    perform set_config('lock_timeout', patience::text, true);
    -- Whoever waits for a row holds only rows that come before it: two who wait cannot wait for each other.
    for wanted in
        select h.slot::integer as slot, h.bucket, h.kind, h.key
        from unnest(buckets, kinds, keys) with ordinality as h (bucket, kind, key, slot)
        order by h.kind collate "C", h.key collate "C"
    loop
        for attempt in 1 .. 2 loop
            if patience > 0 then
                select e.ctid::text as tid, e.version, e.vsn, e.state::text as state into held
                from revenant.entities e
                where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key
                for no key update;
            else
                select e.ctid::text as tid, e.version, e.vsn, e.state::text as state into held
                from revenant.entities e
                where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key
                for no key update skip locked;
            end if;
            exit when found or attempt = 2;
            -- No row, or one that another turn has. Whoever creates an entity holds its advisory lock until the commit.
            perform 1 from revenant.entities e
            where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key;
            ours := not found or patience > 0;
            if ours and patience > 0 then
                perform pg_advisory_xact_lock(hashtextextended(wanted.kind || '/' || wanted.key, 7));
            elsif ours then
                ours := pg_try_advisory_xact_lock(hashtextextended(wanted.kind || '/' || wanted.key, 7));
            end if;
            if not ours then
                return;
            end if;
            -- The lock may be ours because its last holder has just committed the row: look again.
        end loop;
        slot := wanted.slot; tid := null; version := 0; vsn := null; state := null;
        if held.tid is not null then
            tid := held.tid; version := held.version; vsn := held.vsn; state := held.state;
        else
            perform 1 from revenant.entities e
            where e.bucket = wanted.bucket and e.kind = wanted.kind and e.key = wanted.key;
            if found then
                return;
            end if;
        end if;
        return next;
    end loop;
end
$$;
