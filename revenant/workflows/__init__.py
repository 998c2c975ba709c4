"""What a user writes to describe a long business process, and how one run of it goes on: pure, values in and out."""
