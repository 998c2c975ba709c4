-- Promise: the clock that decides due times.
-- Locks: none.
select revenant.now();
