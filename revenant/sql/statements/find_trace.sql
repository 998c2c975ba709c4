-- Promise: the trace stored under one id, if any.
-- Locks: none.
select t.traceparent
from revenant.traces t
where t.bucket = get_byte(uuid_send(%(id)s::uuid), 15)::smallint and t.id = %(id)s::uuid;
