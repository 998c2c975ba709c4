-- Promise: the traces of these messages, which stay: what handles them is not committed yet.
-- Locks: none.
select t.id::text, t.traceparent
from unnest(%(ids)s::uuid[]) as m (id)
join revenant.traces t on t.bucket = get_byte(uuid_send(m.id), 15)::smallint and t.id = m.id;
