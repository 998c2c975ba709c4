-- Promise: how many dead letters there are, of how many the callers were told, and what the database's clock says.
-- Locks: none.
select count(*), count(*) filter (where (d.error ->> 'answered')::boolean), revenant.now() from revenant.dead d;
