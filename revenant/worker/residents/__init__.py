"""Relaxed entities that live in this process's memory, from their taking to their flush."""
