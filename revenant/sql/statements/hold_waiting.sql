-- Promise: begins a transaction in which no worker becomes the owner of this entity; then, who owns it, and those of the named messages that wait.
-- Locks: the entity's row of residents, made for that where there is none; then the messages' rows, in order: a turn's commit is waited for.
begin;
insert into revenant.residents (bucket, kind, key, owner)
values (%(bucket)s, %(kind)s, %(key)s, %(hand)s::uuid)
on conflict do nothing;
select r.owner::text, revenant.alive_v1(r.owner), w.host, w.pid
from revenant.residents r
left join revenant.workers w on w.id = r.owner
where r.bucket = %(bucket)s and r.kind = %(kind)s and r.key = %(key)s
for update of r;
select m.ctid::text, m.seq, m.id::text, m.handler, m.args::text, m.origin, m.digest, m.attempts
from revenant.messages m
where m.bucket = %(bucket)s and m.kind = %(kind)s and m.key = %(key)s
    and (%(ids)s::uuid[] is null or m.id = any (%(ids)s::uuid[]))
order by m.seq
limit %(page)s
for update;
