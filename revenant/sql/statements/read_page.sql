-- Promise: the next stored states of one kind in one bucket, behind a key, in the order of their keys.
-- Locks: none.
select key, version, vsn, state::text from revenant.entities
where bucket = %(bucket)s::smallint and kind = %(kind)s and key > %(after)s
order by key
limit %(page)s;
