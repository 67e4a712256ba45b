"""Sensor samples to a belief at measurement time."""
