-- Promise: the message did its worker no harm: removes its note; where it waits still, the note goes, the suspect and its deaths stay: then returns its id.
-- Locks: the message's row in suspects.
with handled as (
    delete from revenant.suspects s
    where s.bucket = %(bucket)s::smallint and s.id = %(id)s::uuid and s.worker = %(worker)s::uuid and not exists (
        select from revenant.messages m
        where m.bucket = s.bucket and m.kind = s.kind and m.key = s.key and m.seq = s.seq
    )
)
update revenant.suspects s
set worker = '00000000-0000-0000-0000-000000000000'
where s.bucket = %(bucket)s::smallint and s.id = %(id)s::uuid and s.worker = %(worker)s::uuid and exists (
    select from revenant.messages m
    where m.bucket = s.bucket and m.kind = s.kind and m.key = s.key and m.seq = s.seq
)
returning s.id;
