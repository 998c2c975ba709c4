-- Promise: the traces of these messages, which go with the transaction that handles them.
-- Locks: those rows, in the order given.
delete from revenant.traces t
using unnest(%(ids)s::uuid[]) as m (id)
where t.bucket = get_byte(uuid_send(m.id), 15)::smallint and t.id = m.id
returning t.id::text, t.traceparent;
