-- Promise: removes runs whose time to be kept is over, with all their histories, about a page of rows at a time; returns how many rows went.
-- Locks: the heads' rows, SKIP LOCKED: it waits for nobody; then what belongs to them, which is theirs alone.
create or replace function revenant.expire_runs_v1(page integer) returns integer language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
    head record;
    older uuid;
    oldest uuid;
    removed integer := 0;
    step integer;
begin
    for head in
        select h.bucket, h.kind, h.key, h.run, h.seq from revenant.run_heads h
        where h.expires_at <= moment
        order by h.expires_at
        limit page
        for update skip locked
    loop
        loop
            exit when removed >= page;
            -- The history before the current one goes first, and the one before that takes its place: whatever is left
            -- after a page hangs together, and the current one says to the end how the run has ended.
            select (e.data ->> 'continues')::uuid into older from revenant.run_events e
            where e.bucket = head.bucket and e.run = head.run and e.seq = 1;
            exit when older is null;
            removed := removed + revenant.erase_events_v1(head.bucket, older, 1, null, page - removed);
            exit when removed >= page;
            select (e.data ->> 'continues')::uuid into oldest from revenant.run_events e
            where e.bucket = head.bucket and e.run = older and e.seq = 1;
            update revenant.run_events e
            set data = case
                when oldest is null then e.data - 'continues' else e.data || jsonb_build_object('continues', oldest)
            end
            where e.bucket = head.bucket and e.run = head.run and e.seq = 1;
            removed := removed + revenant.erase_events_v1(head.bucket, older, 0, null, 1);
            perform revenant.erase_belongings_v1(head.bucket, older);
        end loop;
        exit when removed >= page;
        removed := removed + revenant.erase_events_v1(head.bucket, head.run, 1, head.seq, page - removed);
        exit when removed >= page;
        removed := removed + revenant.erase_events_v1(head.bucket, head.run, 0, null, 2) + 1;
        perform revenant.erase_belongings_v1(head.bucket, head.run);
        delete from revenant.run_heads h
        where h.bucket = head.bucket and h.kind = head.kind and h.key = head.key and h.run = head.run;
        exit when removed >= page;
    end loop;
    return removed;
end
$$;
