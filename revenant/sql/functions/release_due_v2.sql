-- Promise: moves a page of due messages into their mailboxes, oldest first; returns their hints, then a row that says in how many seconds the next is due.
-- Locks: the scheduled rows that it moves, SKIP LOCKED, in order of due.
create or replace function revenant.release_due_v2(page integer)
returns table (bucket smallint, kind text, key text, seq bigint, next_due double precision) language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    moment timestamptz := revenant.now();
begin
    return query
    with due as (
        select s.ctid as tid, s.due from revenant.scheduled s
        where s.due <= moment order by s.due limit page for update skip locked
    ),
    taken as (
        delete from revenant.scheduled s using due d where s.ctid = d.tid returning s.*
    ),
    moved as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
        select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, t.attempts, t.sent_at
        from taken t order by t.due
        returning messages.bucket, messages.kind, messages.key, messages.seq
    )
    select m.bucket, m.kind, m.key, m.seq, null::double precision from moved m;
    return query
    select null::smallint, null::text, null::text, null::bigint,
        extract(epoch from s.due - moment)::double precision
    from revenant.scheduled s order by s.due limit 1;
end
$$;
