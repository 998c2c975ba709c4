-- Promise: removes about a page of what runs have left whose time to be kept is over; returns how many rows went.
-- Locks: those of expire_runs_v1.
select revenant.expire_runs_v1(%(page)s);
