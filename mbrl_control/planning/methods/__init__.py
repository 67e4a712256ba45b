"""Sampling planners, one per file, behind one protocol."""
