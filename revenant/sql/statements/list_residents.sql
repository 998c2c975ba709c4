-- Promise: the next relaxed entities that live in a worker's memory, by bucket, kind and key, with how many messages wait for a flush.
-- Locks: none.
select
    r.bucket, r.kind, r.key, r.owner::text as worker, r.since, revenant.alive_v1(r.owner) as alive,
    (
        select count(*) from revenant.messages m where m.bucket = r.bucket and m.kind = r.kind and m.key = r.key
    ) as pending
from revenant.residents r
where (r.bucket, r.kind, r.key) > (%(bucket)s, %(after_kind)s collate "C", %(after)s collate "C")
    and (%(kind)s::text is null or r.kind = %(kind)s)
order by r.bucket, r.kind, r.key
limit %(page)s;
