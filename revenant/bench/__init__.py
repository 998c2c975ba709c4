"""What a call and a drained message cost, measured beside plain SQL in the same run, on what users run."""
