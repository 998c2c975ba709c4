-- Promise: writes this worker's row and returns the live fleet.
-- Locks: those of heartbeat_v1.
select * from revenant.heartbeat_v1(
    %(worker)s::uuid, %(host)s::text, %(pid)s::integer, %(kinds)s::jsonb, %(lanes)s::integer, %(jobs)s::integer,
    %(draining)s, %(turns)s::bigint, %(messages)s::bigint
);
