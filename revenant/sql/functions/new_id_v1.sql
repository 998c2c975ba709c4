-- Promise: a new message id, whose last byte is its bucket.
-- Locks: none.
create or replace function revenant.new_id_v1(bucket smallint) returns uuid language sql volatile as $$
    select encode(set_byte(uuid_send(gen_random_uuid()), 15, bucket), 'hex')::uuid
$$;
