-- Promise: what the current role may do with the tables of the schema; no row where there is no schema.
-- Locks: none beyond the catalogues'.
with tables as (
    select c.oid, c.relname
    from pg_catalog.pg_class as c
    where c.relnamespace = to_regnamespace('revenant') and c.relkind in ('r', 'p') and not c.relispartition
),
granted as (
    select
        t.relname,
        has_table_privilege(t.oid, 'select') as selects,
        has_table_privilege(t.oid, 'insert') as inserts,
        has_table_privilege(t.oid, 'update') as updates,
        has_table_privilege(t.oid, 'delete') as deletes,
        t.relname <> 'messages' or (
            has_column_privilege(t.oid, 'bucket', 'select') and has_column_privilege(t.oid, 'kind', 'select')
            and has_column_privilege(t.oid, 'key', 'select') and has_column_privilege(t.oid, 'seq', 'select')
        ) as returns
    from tables as t
)
select
    current_user::text as role,
    has_schema_privilege(n.oid, 'usage') as usage,
    coalesce(bool_and(g.selects), false) as reads,
    coalesce(bool_and(g.inserts and g.returns) filter (where g.relname = 'messages'), false) as casts,
    coalesce(bool_and(g.selects) filter (where g.relname = 'replies'), false) as hears,
    coalesce(bool_and(
        case g.relname
            when 'replies' then g.deletes
            when 'sends' then g.selects and g.inserts and g.updates and g.deletes
            else g.inserts
        end
    ) filter (where g.relname in ('replies', 'sends', 'scheduled')), false) as connects,
    coalesce(bool_and(
        g.selects and (g.relname = 'migrations' or g.inserts and g.updates and g.deletes)
    ), false) as serves
from pg_catalog.pg_namespace as n
left join granted as g on true
where n.nspname = 'revenant'
group by n.oid;
