-- Promise: where the streams of the named runs stand now, and when their last events happened; no row for one that there is not.
-- Locks: none.
select w.slot::integer, h.run::text, h.seq, h.fence, h.at
from unnest(%(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]) with ordinality as w (bucket, kind, key, slot)
cross join lateral (
    select h.run, h.seq, h.fence, e.at from revenant.run_heads h
    join revenant.run_events e on e.bucket = h.bucket and e.run = h.run and e.seq = h.seq
    where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key
) h;
