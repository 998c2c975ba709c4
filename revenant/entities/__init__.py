"""What a user writes, and how one turn runs: values in, values out, no I/O."""
