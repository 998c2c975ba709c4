-- Promise: how many runs of the keys of a range have a status, in all buckets.
-- Locks: none.
select count(*) from revenant.run_heads
where kind = %(kind)s and key >= %(first)s and key < %(end)s and status = %(status)s;
