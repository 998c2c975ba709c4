"""What the demo and the benchmark share: a run of their own on any Postgres, and real workers for it."""
