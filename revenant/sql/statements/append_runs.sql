-- Promise: appends to the streams of runs, in the transaction that is open; settle_runs, which follows, commits it.
-- Locks: those of append_runs_v2.
select revenant.append_runs_v2(
    %(worker)s::uuid, %(run_buckets)s::smallint[], %(run_kinds)s::text[], %(run_keys)s::text[],
    %(runs)s::uuid[], %(streams)s::uuid[],
    %(run_expected)s::bigint[], %(run_seqs)s::bigint[], %(fences)s::bigint[], %(takes)s::boolean[], %(owned)s::boolean[],
    %(run_versions)s::integer[], %(statuses)s::text[], %(recoveries)s::integer[], %(digests)s::bytea[],
    %(origins)s::text[], %(parents)s::text[],
    %(waits)s::text[], %(views)s::text[], %(problems)s::text[], %(keeps)s::double precision[],
    %(slots)s::integer[], %(event_seqs)s::bigint[], %(types)s::text[], %(ops)s::integer[],
    %(ats)s::timestamptz[], %(datas)s::text[]
);
