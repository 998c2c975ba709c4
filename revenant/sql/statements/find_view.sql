-- Promise: whose the relation of that name is, and what its comment says; no row where there is none.
-- Locks: none.
select obj_description(c.oid, 'pg_class') as mark, pg_get_userbyid(c.relowner)::text as owner
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'revenant_state' and c.relname = %(view)s;
