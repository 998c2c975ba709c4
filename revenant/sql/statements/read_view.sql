-- Promise: what a run's code has shown last, as JSON text; no row where there is no such run.
-- Locks: none.
select h.view::text from revenant.run_heads h
where h.bucket = %(bucket)s and h.kind = %(kind)s and h.key = %(key)s;
