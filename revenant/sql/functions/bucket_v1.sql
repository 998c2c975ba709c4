-- Promise: the bucket of an entity, 0 to 255, fixed for ever: the first byte of sha256('kind/key').
-- Locks: none.
create or replace function revenant.bucket_v1(kind text, key text) returns smallint
language sql immutable strict parallel safe as $$
    select get_byte(sha256(convert_to(kind || '/' || key, 'UTF8')), 0)::smallint
$$;
