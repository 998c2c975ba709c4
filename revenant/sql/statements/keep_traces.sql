-- Promise: stores which trace each message belongs to; one that is stored stays as it is.
-- Locks: none that anybody waits for (inserts only).
insert into revenant.traces (bucket, id, traceparent)
select get_byte(uuid_send(t.id), 15)::smallint, t.id, t.traceparent
from unnest(%(trace_ids)s::uuid[], %(traceparents)s::text[]) as t (id, traceparent)
on conflict do nothing;
