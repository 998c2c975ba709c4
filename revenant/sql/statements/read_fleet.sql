-- Promise: the kinds that each other worker serves, as the table says now: also of one that seems dead, until its row is gone.
-- Locks: none.
select kinds
from revenant.workers
where id <> %(worker)s::uuid;
