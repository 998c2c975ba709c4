-- Promise: takes what an append has consumed out of the mailboxes, writes its replies, and commits; callers are woken after it.
-- Locks: those of settle_runs_v1; the commit waits for its flush.
select revenant.settle_runs_v1(
    %(message_tids)s::text[], %(seqs)s::bigint[], %(message_ids)s::uuid[],
    %(reply_ids)s::uuid[], %(reply_statuses)s::text[], %(reply_versions)s::bigint[], %(reply_bodies)s::text[],
    %(reply_digests)s::bytea[], %(reply_ttls)s::double precision[]
);
commit;
