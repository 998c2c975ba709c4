"""Turns of strict entities: one connection each, from the claim to the commit."""
