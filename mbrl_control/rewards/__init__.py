"""Cost terms of the planners."""
