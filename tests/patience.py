"""How long a test waits for a process before it says that it hangs: never a measure of how fast the machine is."""

HUNG_S = 240.0
"""Below the time limit of a test (pyproject.toml), so that the failure names the process."""
SLOW_S = 1800
"""Time limit of tests that export models, build packages or wait for a retraining."""
UNCUT_S = 1e6
"""Of a fit: one that is cut off by the clock is another fit."""
