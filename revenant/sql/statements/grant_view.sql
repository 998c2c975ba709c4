-- Promise: gives a role a right on a view that it had before.
-- Locks: none that anybody waits for.
grant %(privilege)s on revenant_state.%(view)s to %(grantee)s%(option)s;
