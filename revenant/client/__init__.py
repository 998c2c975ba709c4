"""Sending: call, cast and reply, over two connections per process however many callers there are."""
