-- Promise: the bucket of an address to which something can be sent; raises 22023, which says what is wrong with it and what to do.
-- Locks: none.
create or replace function revenant.check_address_v1(kind text, key text, handler text, args json) returns smallint
language plpgsql immutable as $$
begin
    if (octet_length(kind) between 1 and 128) is not true then
        raise exception 'a kind is text of 1 to 128 bytes, and % is none; nothing was sent', quote_nullable(left(kind, 40))
            using errcode = '22023', hint = 'Name the kind of the entity, as in revenant.cast(''Account'', ''acct_42'', ''deposit'').';
    elsif (octet_length(key) between 1 and 512) is not true then
        raise exception 'a key is text of 1 to 512 bytes, and % is none; nothing was sent', quote_nullable(left(key, 40))
            using errcode = '22023', hint = 'Give each entity a key; of a longer text, take a hash.';
    elsif (handler <> '') is not true then
        raise exception 'a message to %(%) needs a handler, and % is none; nothing was sent',
            kind, quote_literal(left(key, 40)), quote_nullable(handler)
            using errcode = '22023', hint = 'Name the handler that is to take it.';
    elsif args is null then
        raise exception 'the arguments of % are null; nothing was sent', quote_literal(left(handler, 40))
            using errcode = '22023', hint = 'Send a JSON object of them by name, or an array; leave it out where there are none.';
    end if;
    return revenant.bucket_v1(kind, key);
end
$$;
