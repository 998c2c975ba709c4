-- Promise: returns the grants, as statements, that the current role lacks for migrating; no row when it lacks none.
-- Locks: none beyond the catalogues'.
select format('grant create on database %I to %I', current_database(), current_user) as grant
where to_regnamespace('revenant') is null
    and not has_database_privilege(current_database(), 'create')
union all
select format('grant usage, create on schema revenant to %I', current_user)
from pg_catalog.pg_namespace
where nspname = 'revenant'
    and not (has_schema_privilege(oid, 'usage') and has_schema_privilege(oid, 'create'))
union all
select format('grant select, insert, update on revenant.migrations to %I', current_user)
from pg_catalog.pg_class
where relname = 'migrations' and relnamespace = to_regnamespace('revenant')
    and not (
        has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
        and has_table_privilege(oid, 'update')
    )
union all
select format('grant usage, create on schema %I to %I', nspname, current_user)
from pg_catalog.pg_namespace
where nspname = current_schema()
    and not has_schema_privilege(oid, 'create')
    and to_regclass('procrastinate_jobs') is null
union all
select distinct format('grant %I to %I', pg_get_userbyid(owner), current_user)
from (
    select relowner from pg_catalog.pg_class where relnamespace = to_regnamespace('revenant')
    union
    select proowner from pg_catalog.pg_proc where pronamespace = to_regnamespace('revenant')
) as objects (owner)
where not pg_has_role(owner, 'usage');
