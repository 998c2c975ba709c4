-- Promise: what `revenant check` judges a server by, read from its settings and catalogues; needs no schema of ours.
-- Locks: none.
select
    current_setting('server_version_num')::integer as version,
    current_setting('transaction_read_only') = 'on' or pg_is_in_recovery() as read_only,
    current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('max_connections')::integer as max_connections,
    current_setting('superuser_reserved_connections')::integer
    + coalesce(current_setting('reserved_connections', true)::integer, 0) as reserved,
    role.rolsuper as superuser,
    role.rolconnlimit as role_limit,
    base.datconnlimit as database_limit,
    others.in_all,
    others.in_role,
    others.in_database
from pg_catalog.pg_roles as role
cross join pg_catalog.pg_database as base
cross join (
    select
        count(*) as in_all,
        count(*) filter (where s.usename = session_user) as in_role,
        count(*) filter (where s.datname = current_database()) as in_database
    from pg_catalog.pg_stat_activity as s
    where s.backend_type = 'client backend' and starts_with(s.application_name, 'revenant/') is not true
) as others
where role.rolname = session_user and base.datname = current_database();
