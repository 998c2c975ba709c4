-- Promise: whether the server has a database of that name.
-- Locks: none.
select 1 from pg_database where datname = %(name)s;
