"""Where the members of a model come from."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """All of them are mean and spread of several networks, and so one graph for the planner."""

    ENSEMBLE = "ensemble"
    """Networks trained side by side (Lakshminarayanan et al. 2017); the best of them."""
    DROPOUT = "dropout"
    """One network trained with dropout; members are fixed masks (Gal and Ghahramani 2016, arXiv:1506.02142)."""
    LAPLACE = "laplace"
    """One network; members are draws from the Gaussian posterior of its last layer (Daxberger et al. 2021)."""
