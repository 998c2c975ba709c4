-- Promise: opens the transaction of an append.
-- Locks: none.
begin isolation level read committed;
