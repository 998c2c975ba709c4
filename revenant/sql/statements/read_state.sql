-- Promise: the committed state of one entity; no row where it has none.
-- Locks: none.
select version, vsn, state::text from revenant.entities
where bucket = %(bucket)s::smallint and kind = %(kind)s and key = %(key)s;
