-- Promise: removes expired replies of one page of a bucket, and returns where the next page begins.
-- Locks: those of tidy_replies_v1.
select revenant.tidy_replies_v1(%(bucket)s::smallint, %(after)s::uuid, %(page)s)::text;
