-- Promise: the next entities of one kind in one bucket after a key, by key, with how many messages wait for each.
-- Locks: none.
select
    e.key, e.version, e.vsn, e.updated_at,
    (
        select count(*) from revenant.messages m where m.bucket = e.bucket and m.kind = e.kind and m.key = e.key
    ) as waiting
from revenant.entities e
where e.bucket = %(bucket)s and e.kind = %(kind)s and e.key > %(after)s
order by e.key
limit %(page)s;
