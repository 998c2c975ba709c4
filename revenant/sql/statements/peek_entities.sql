-- Promise: which of the named entities still have a message at or after the named number.
-- Locks: none.
select revenant.peek_v1(%(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(seqs)s::bigint[]);
