-- Promise: the next entities with waiting messages, from a cursor on.
-- Locks: none.
select * from revenant.waiting_v1(
    %(known)s::text[], %(bucket)s::smallint, %(kind)s::text, %(key)s::text, %(page)s
);
