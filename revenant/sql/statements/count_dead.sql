-- Promise: how many dead letters there are, and what the database's clock says.
-- Locks: none.
select count(*), revenant.now() from revenant.dead;
