-- Promise: makes the schema of the views.
-- Locks: creates only.
create schema if not exists revenant_state;
