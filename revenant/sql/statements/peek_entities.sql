-- Promise: which of the named entities need somebody: a message at or after the named number, and no owner alive.
-- Locks: none.
select revenant.peek_v2(%(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[], %(seqs)s::bigint[]);
