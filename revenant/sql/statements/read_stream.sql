-- Promise: the next events of one stream, as JSON objects in text, with their numbers.
-- Locks: none.
select e.seq, json_build_object('seq', e.seq, 'type', e.type, 'op', e.op, 'at', e.at, 'data', e.data)::text as event
from revenant.run_events e
where e.bucket = %(bucket)s::smallint and e.run = %(run)s::uuid and e.seq > %(after)s
order by e.seq
limit %(page)s;
