"""Reliability diagrams: the share of truths below each predicted quantile, which should be the quantile's level."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from mbrl_control.learning.calibration import LEVELS, Errors, shares_below

_COLOURS = {"scaled": "#1f4e8c", "as predicted": "#d98e04", "best constant": "#2b2b2b"}


def plot_reliability(spreads: dict[int, dict[str, Errors]], path: Path, judged_on: str) -> None:
    """By steps ahead, one panel each; by spread (`_COLOURS`), mean over outputs in bold; of the scaled every one.

    ``judged_on``: which rows, in words.
    """
    figure, axes = plt.subplots(1, len(spreads), figsize=(4.6 * len(spreads), 5.0), layout="constrained", squeeze=False)
    for axis, (steps, named) in zip(axes[0], spreads.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle="--")
        for name, errors in named.items():
            shares = shares_below(errors)
            if name == "scaled":
                axis.plot(LEVELS, shares, color="#9db8d9", linewidth=0.6)
            style = "--" if name == "best constant" else "-"  # on top of the scaled, which it may equal
            axis.plot(LEVELS, shares.mean(axis=1), style, color=_COLOURS[name], linewidth=2.0, label=name)
        axis.set(title=f"{steps} step{'s' if steps > 1 else ''} ahead", xlabel="level of the predicted quantile")
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.legend(loc="upper left", frameon=False)
        axis.grid(True, alpha=0.3)
    axes[0, 0].set_ylabel(f"share of truths below it, on {judged_on}")
    figure.savefig(path, dpi=120)
    plt.close(figure)
