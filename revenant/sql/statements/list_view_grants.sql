-- Promise: the rights on a view that others than its owner have; a grantee of null is everybody.
-- Locks: none.
select
    case when a.grantee <> 0 then pg_get_userbyid(a.grantee)::text end as grantee,
    a.privilege_type as privilege, a.is_grantable as grantable
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join lateral aclexplode(c.relacl) as a
where n.nspname = 'revenant_state' and c.relname = %(view)s and a.grantee <> c.relowner;
