-- Promise: what became of a transaction whose commit got no answer: committed, aborted or in progress.
-- Locks: none.
select pg_xact_status(%(xid)s::xid8);
