"""Arm descriptions: one YAML per arm, and the URDF and MJCF generated from it."""
