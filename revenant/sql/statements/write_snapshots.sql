-- Promise: inside the transaction of an append, writes where its runs stand, and removes what ended runs leave.
-- Locks: those of write_snapshots_v1.
select revenant.write_snapshots_v1(
    %(format)s, %(buckets)s::smallint[], %(runs)s::uuid[], %(seqs)s::bigint[], %(views)s::text[]
);
