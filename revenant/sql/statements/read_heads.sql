-- Promise: where the streams of the named runs stand now; no row for one that there is not.
-- Locks: none.
select w.slot::integer, h.run::text, h.seq, h.fence
from unnest(%(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]) with ordinality as w (bucket, kind, key, slot)
cross join lateral (
    select h.run, h.seq, h.fence from revenant.run_heads h
    where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key
) h;
