-- Promise: opens a transaction and locks those of the named entities that are free and of an older shape; never waits.
-- Locks: the entities' rows FOR NO KEY UPDATE, SKIP LOCKED, in the order of their keys.
begin isolation level read committed;
set local enable_seqscan = off;
set local enable_hashjoin = off;
set local enable_mergejoin = off;
select e.key, e.version, e.vsn, e.state::text
from unnest(%(keys)s::text[]) as k (key)
join revenant.entities e
    on e.bucket = %(bucket)s::smallint and e.kind = %(kind)s and e.key = k.key and e.vsn < %(vsn)s
order by e.key
for no key update of e skip locked;
