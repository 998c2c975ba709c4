-- Promise: the next entities of one kind with waiting messages, from a cursor on; those without state yet too.
-- Locks: none.
select
    w.bucket, w.key, e.version, e.vsn, e.updated_at,
    (
        select count(*) from revenant.messages m where m.bucket = w.bucket and m.kind = w.kind and m.key = w.key
    ) as waiting
from revenant.waiting_v1(array[%(kind)s], %(bucket)s::smallint, %(kind)s, %(after)s, %(page)s) as w
left join revenant.entities e on e.bucket = w.bucket and e.kind = w.kind and e.key = w.key
order by w.bucket, w.key;
