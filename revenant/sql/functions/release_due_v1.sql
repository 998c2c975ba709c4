-- Promise: moves due messages into their mailboxes, oldest first; returns wake-ups, then seconds to the next due time.
-- Locks: the scheduled rows that it moves, SKIP LOCKED, in order of due.
create or replace function revenant.release_due_v1(page integer)
returns table (hint text, next_due double precision) language plpgsql volatile as $$
declare
    moment timestamptz := revenant.now();
begin
    return query
    with due as (
        select s.bucket, s.id from revenant.scheduled s
        where s.due <= moment order by s.due limit page for update skip locked
    ),
    taken as (
        delete from revenant.scheduled s using due d where s.bucket = d.bucket and s.id = d.id returning s.*
    ),
    moved as (
        insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
        select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, t.attempts, t.sent_at
        from taken t order by t.due
        returning messages.bucket, messages.kind, messages.key, messages.seq
    )
    select '[' || json_build_array(m.bucket, m.kind, m.key, m.seq)::text || ']', null::double precision from moved m;
    return query
    select null::text, extract(epoch from s.due - moment)::double precision
    from revenant.scheduled s order by s.due limit 1;
end
$$;
