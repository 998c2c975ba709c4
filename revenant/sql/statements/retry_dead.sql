-- Promise: puts dead letters back into their mailboxes as if new; returns each id with its wake-up.
-- Locks: the dead letters' rows, in the order found; then the receipts of those that had an idempotency key.
with taken as (
    delete from revenant.dead d
    using unnest(%(ids)s::uuid[]) as wanted (id)
    where d.bucket = get_byte(uuid_send(wanted.id), 15)::smallint and d.id = wanted.id
    returning d.*
),
forgotten as (
    -- The receipt of the failure would answer for the message, which would then not be handled.
    delete from revenant.replies r
    using taken t
    where r.bucket = t.bucket and r.id = t.id and r.status = 'error'
),
moved as (
    insert into revenant.messages (bucket, kind, key, id, handler, args, digest, attempts, sent_at)
    select t.bucket, t.kind, t.key, t.id, t.handler, t.args, t.digest, 0, t.sent_at
    from taken t
    order by t.died_at, t.id
    returning bucket, kind, key, seq, id
)
select m.id::text, '[' || json_build_array(m.bucket, m.kind, m.key, m.seq)::text || ']' as hint from moved m;
