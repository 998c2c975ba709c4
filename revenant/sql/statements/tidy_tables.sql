-- Promise: removes old batch markers and rows of workers long gone.
-- Locks: those of tidy_v1.
select revenant.tidy_v1(%(page)s);
