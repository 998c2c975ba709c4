-- Promise: removes old batch markers, notes, traces, answers of claims and rows of workers long gone.
-- Locks: those of tidy_v2.
select revenant.tidy_v2(%(page)s);
