-- Promise: a worker that ends in good order leaves no row behind.
-- Locks: that row.
delete from revenant.workers where id = %(worker)s::uuid;
