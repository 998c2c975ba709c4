-- Promise: a row where the schema of the views is there.
-- Locks: none.
select nspname from pg_namespace where nspname = 'revenant_state';
