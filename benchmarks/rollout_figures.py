"""What `bench rollout` says about its times."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.rollout_contest import Evaluation
from benchmarks.rollout_problem import ROOF_SIZE, Network

OURS, ROOF = "ours chosen", "roof"
LIMITS = {
    "roof_fraction": 0.70,
    "speedup_128x2": 2.0,
    "speedup_200x4": 1.5,
    "speedup_pytorch_mppi": 1.15,
    "speedup_p99_contended": 1.5,
}


def figures(times: Sequence[Evaluation], networks: Sequence[Network]) -> dict[str, object]:
    """Top-level keys of the JSON line."""
    tables = {str(network): table(times, str(network)) for network in networks}
    widest = networks[-1]
    values = {"roof_fraction": _roof_fraction(times, widest)}
    for network in networks:
        values[f"speedup_{network}"] = _ratio(times, network, "quiet", "mbrl", 50)
    values["speedup_pytorch_mppi"] = min(_ratio(times, network, "quiet", "mppi", 50) for network in networks)
    values["speedup_p99_contended"] = min(_ratio(times, network, "contended", "m", 99) for network in networks)
    rounded = {name: round(value, 3) for name, value in values.items()}
    misses = [f"{name} {value} below {LIMITS[name]}" for name, value in rounded.items() if value < LIMITS[name]]
    return {**rounded, "ms": tables, "misses": misses}


def table(times: Sequence[Evaluation], network: str) -> dict[str, dict[str, dict[str, float]]]:
    """Condition -> contestant -> median, 10th, 90th and 99th percentile, ms, and processor time of the median one."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for condition in ("quiet", "contended"):
        named = {name: _of(times, network, condition, name) for name in _names(times)}
        rows[condition] = {
            name: {f"p{share}": round(float(np.percentile(ms, share)), 2) for share in (10, 50, 90, 99)}
            | {"cpu": round(float(np.median(cpu)), 2)}
            for name, (ms, cpu) in named.items()
            if len(ms)
        }
    return rows


def _roof_fraction(times: Sequence[Evaluation], network: Network) -> float:
    ours, _ = _of(times, str(network), "quiet", OURS)
    roof, _ = _of(times, str(network), "quiet", ROOF)
    return float((network.flops / np.median(ours)) / (2.0 * ROOF_SIZE**3 / np.median(roof)))


def _ratio(times: Sequence[Evaluation], network: Network, condition: str, peer: str, share: float) -> float:
    """Percentile of the best peer whose name begins so over that of ours."""
    theirs = [name for name in _names(times) if name.startswith(peer) and "/" in name]
    if not any(one.condition == condition for one in times):
        return float("nan")
    best = min(float(np.percentile(_of(times, str(network), condition, name)[0], share)) for name in theirs)
    return best / float(np.percentile(_of(times, str(network), condition, OURS)[0], share))


def _names(times: Sequence[Evaluation]) -> list[str]:
    return list(dict.fromkeys(one.contestant for one in times))


def _of(times: Sequence[Evaluation], network: str, condition: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    chosen = [one for one in times if (one.network, one.condition, one.contestant) == (network, condition, name)]
    return np.array([one.ms for one in chosen]), np.array([one.cpu_ms for one in chosen])


def save_times(times: Sequence[Evaluation], path: Path) -> None:
    """A row per evaluation."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Evaluation)])
        writer.writerows(astuple(one) for one in times)


def save_histogram(times: Sequence[Evaluation], path: Path) -> None:
    """Times of every contestant, a panel per network and condition."""
    networks = list(dict.fromkeys(one.network for one in times))
    conditions = list(dict.fromkeys(one.condition for one in times))
    figure, axes = plt.subplots(
        len(conditions), len(networks), figsize=(12, 4 * len(conditions)), squeeze=False, layout="constrained"
    )
    for row, condition in zip(axes, conditions, strict=True):
        for axis, network in zip(row, networks, strict=True):
            names = [name for name in _names(times) if name != ROOF]
            values = [_of(times, network, condition, name)[0] for name in names]
            axis.violinplot(values, vert=False, showmedians=True, showextrema=True)
            axis.set_yticks(range(1, len(names) + 1), names)
            axis.set_xscale("log")
            axis.set_xlabel("ms per evaluation of 128 x 5 x 15")
            axis.set_title(f"{network}, {condition}")
    figure.savefig(path, dpi=120)
    plt.close(figure)
