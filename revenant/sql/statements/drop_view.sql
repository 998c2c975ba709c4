-- Promise: drops one view, and with `cascade` what depends on it.
-- Locks: what it drops, ACCESS EXCLUSIVE.
drop view revenant_state.%(view)s %(how)s;
