-- Promise: one kind's states as a view; in place of an older one where that has the same columns, or fewer.
-- Locks: the view that it replaces, ACCESS EXCLUSIVE.
create or replace view revenant_state.%(view)s as
select
    e.key, e.version, e.vsn, e.updated_at%(columns)s
from revenant.entities e
where e.kind = %(kind)s;
