-- Promise: as send_in_transaction, and stores which traces the messages belong to.
-- Locks: those of send_in_transaction.
with kept as (
    insert into revenant.traces (bucket, id, traceparent)
    select get_byte(uuid_send(t.id), 15)::smallint, t.id, t.traceparent
    from unnest(%(trace_ids)s::uuid[], %(traceparents)s::text[]) as t (id, traceparent)
    on conflict do nothing
)
select pg_notify('revenant_wake', 'cast' || w.hint)
from revenant.send_v1(
    %(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(id)s::uuid[], %(handler)s::text[], %(args)s::text[],
    %(origin)s::text[], %(digest)s::bytea[]
) as w (hint);
