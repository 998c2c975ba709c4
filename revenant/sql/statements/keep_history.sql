-- Promise: notes how long histories are kept, and has their partitions made and dropped.
-- Locks: the kinds' rows, where they change; then those of keep_history_v1.
insert into revenant.history_kinds as k (kind, keep)
select h.kind, make_interval(secs => h.seconds)
from unnest(%(kinds)s::text[], %(seconds)s::double precision[]) as h (kind, seconds)
on conflict (kind) do update set keep = excluded.keep where k.keep <> excluded.keep;
select revenant.keep_history_v1();
