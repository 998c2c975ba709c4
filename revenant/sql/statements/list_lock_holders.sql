-- Promise: returns other sessions that hold locks on our tables, oldest transaction first: who a migration waited for.
-- Locks: none.
select distinct
    session.pid,
    session.application_name,
    session.state,
    session.xact_start
from pg_catalog.pg_locks as locks
join pg_catalog.pg_class as relation on relation.oid = locks.relation
join pg_catalog.pg_stat_activity as session on session.pid = locks.pid
where locks.granted
    and locks.pid <> pg_backend_pid()
    and locks.database = (select oid from pg_catalog.pg_database where datname = current_database())
    and relation.relnamespace = to_regnamespace('revenant')
order by session.xact_start
limit 3;
