-- Promise: claims one external step of that name.
-- Locks: those of claim_step.
select token::text, workflow, run_id, attempt, idempotency_key, args::text
from revenant.claim_step(%(name)s, %(holder)s, %(seconds)s);
