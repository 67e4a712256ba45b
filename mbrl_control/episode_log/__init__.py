"""Crash-safe MCAP episode logs: writer, streaming reader, recovery, topics of the graph."""
