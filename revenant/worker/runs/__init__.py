"""Runs of workflows that this process owns, and the attempts of their steps."""
