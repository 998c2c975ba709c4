"""The mailbox: rows in Postgres, and the few statements that put them there and take them out."""
