-- Promise: reads one page of a bucket's replies from an id on, removes those that have expired; returns the last id, null at the end.
-- Locks: the rows it deletes, SKIP LOCKED: it waits for nobody.
create or replace function revenant.tidy_replies_v1(bucket smallint, after uuid, page integer) returns uuid
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    reply record;
    expired tid[] := '{}';
    seen integer := 0;
    last uuid;
begin
    -- By the primary key, so a round reads a page, however many receipts there are, and needs no index of its own.
    for reply in
        select r.ctid as tid, r.id, r.expires_at < now() as is_old
        from revenant.replies r
        where r.bucket = tidy_replies_v1.bucket and r.id > after
        order by r.id
        limit page
    loop
        seen := seen + 1; last := reply.id;
        if reply.is_old then
            expired := expired || reply.tid;
        end if;
    end loop;
    if cardinality(expired) > 0 then
        delete from revenant.replies r
        where r.ctid = any (array(
            select e.ctid from revenant.replies e
            where e.ctid = any (expired) and e.expires_at < now()
            for update skip locked
        ));
    end if;
    return case when seen = page then last end;
end
$$;
