"""Processes apart, for attempts and workflow code that may kill the process they run in."""
