-- Promise: a page of due reminders that go to these kinds, oldest first; then a row that says in how many seconds the next later one is due.
-- Locks: none.
create or replace function revenant.due_reminders_v2(page integer, kinds text[]) returns table (
    moment timestamptz, bucket smallint, kind text, key text, name text, mark text,
    due timestamptz, every double precision, cron text, timezone text, missed text, next_due double precision
) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    moment := revenant.now();
    return query
    select moment, r.bucket, r.kind, r.key, r.name, r.xmin::text,
        r.due, r.every, r.cron, r.timezone, r.missed, null::double precision
    from unnest(kinds) k (kind)
    cross join lateral (
        select r.*, r.xmin from revenant.reminders r
        where r.to_kind = k.kind and r.due <= moment order by r.due limit page
    ) r
    order by r.due limit page;
    next_due := (
        select min(extract(epoch from r.due - moment))::double precision
        from unnest(kinds) k (kind)
        cross join lateral (
            select r.due from revenant.reminders r
            where r.to_kind = k.kind and r.due > moment order by r.due limit 1
        ) r
    );
    return next;
end
$$;
