"""What holds for every test."""

from hypothesis import settings

pytest_plugins = ["tests.budget", "tests.pace"]

# No assertion is timed: a stall of a shared machine is not a fault of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
