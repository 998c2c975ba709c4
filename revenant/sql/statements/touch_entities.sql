-- Promise: inside a turn, notes that messages reached entities which would expire otherwise.
-- Locks: those of touch_v1.
select revenant.touch_v1(%(bucket)s::smallint[], %(kind)s::text[], %(key)s::text[], %(slack)s::double precision[]);
