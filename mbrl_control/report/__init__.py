"""Figures, plots and report of a demo run, computed from its log and the simulator's truth file alone."""
