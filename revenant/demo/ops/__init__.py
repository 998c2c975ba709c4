"""Workflows on real input: what an airline owes for every late flight, while workers are being killed."""
