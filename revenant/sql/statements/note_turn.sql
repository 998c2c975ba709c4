-- Promise: notes what a lane is about to handle; returns the places (from 1) of the entities that it is to leave out.
-- Locks: those of note_turn_v1.
select * from revenant.note_turn_v1(
    %(worker)s::uuid, %(lane)s, %(buckets)s::smallint[], %(kinds)s::text[], %(keys)s::text[],
    %(firsts)s::bigint[], %(lasts)s::bigint[]
);
