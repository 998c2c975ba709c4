-- Promise: the next dead letters from a cursor on, by bucket and id, of one kind or of all.
-- Locks: none.
select
    d.bucket, d.id::text, d.kind, d.key, d.handler, d.attempts, d.error ->> 'type' as type,
    d.error ->> 'message' as message, d.sent_at, d.died_at, coalesce((d.error ->> 'answered')::boolean, false) as answered
from revenant.dead d
where (d.bucket, d.id) > (%(bucket)s::smallint, %(after)s::uuid)
    and (%(kind)s::text is null or d.kind = %(kind)s::text)
order by d.bucket, d.id
limit %(page)s;
