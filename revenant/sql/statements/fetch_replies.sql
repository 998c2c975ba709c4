-- Promise: the replies of those ids that have one.
-- Locks: none.
select * from revenant.fetch_replies_v1(%(ids)s::uuid[]);
