-- Promise: of the named runs, those that have ended, each with its last event; of a run that there is not, no row.
-- Locks: none.
select w.slot::integer, h.status, e.seq, e.type, e.at, e.data::text
from unnest(%(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[]) with ordinality as w (bucket, kind, key, slot)
cross join lateral (
    select h.run, h.seq, h.status from revenant.run_heads h
    where h.bucket = w.bucket and h.kind = w.kind and h.key = w.key and h.ended_at is not null
) h
cross join lateral (
    select e.seq, e.type, e.at, e.data from revenant.run_events e
    where e.bucket = w.bucket and e.run = h.run and e.seq = h.seq
) e;
