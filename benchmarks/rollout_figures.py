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

OURS, QUIETLY, ALONE, ROOF = "ours chosen", "ours chosen_quiet", "ours one_lane", "roof"
CONTENDED = "speedup_p99_contended"
_DRAWS = 200
LIMITS = {
    "roof_fraction": 0.70,
    "speedup_128x2": 2.0,
    "speedup_200x4": 1.5,
    "speedup_pytorch_mppi": 1.15,
    CONTENDED: 1.5,
}


def figures(times: Sequence[Evaluation], networks: Sequence[Network]) -> dict[str, object]:
    """Top-level keys of the JSON line."""
    values = of_ours(times, networks)
    generator, draws = np.random.default_rng(0), []
    for _ in range(_DRAWS):
        draws.append(of_ours(redrawn(times, generator), networks))
    intervals = {
        name: [round(float(np.quantile([draw[name] for draw in draws], share)), 3) for share in (0.025, 0.975)]
        for name in values
    }
    rounded = {name: round(value, 3) for name, value in values.items()}
    alone = {name: round(value, 3) for name, value in ratios(times, networks, ALONE).items()}
    misses = [
        f"{name} {rounded[name]} below {limit}" for name, limit in LIMITS.items() if rounded.get(name, limit) < limit
    ]
    uncertain = [
        name for name, limit in LIMITS.items() if name in rounded and intervals[name][0] < limit <= rounded[name]
    ]
    tables = {str(network): table(times, str(network)) for network in networks}
    return {
        **rounded,
        "intervals": intervals,
        "one_lane": alone,
        "ms": tables,
        "misses": misses,
        "uncertain": uncertain,
    }


def of_ours(times: Sequence[Evaluation], networks: Sequence[Network]) -> dict[str, float]:
    """The figures of the chosen layout; contended, of the worse of those chosen quiet and contended, and of both."""
    values = ratios(times, networks, OURS)
    if (busy := values.get(CONTENDED)) is None:
        return values
    quiet = _contended(_taken(times), networks, QUIETLY)
    both = {f"{CONTENDED}_quiet_layout": quiet, f"{CONTENDED}_busy_layout": busy}
    return values | {CONTENDED: min(both.values())} | both


def ratios(times: Sequence[Evaluation], networks: Sequence[Network], ours: str) -> dict[str, float]:
    """The figures that these times give for contestant ``ours``."""
    taken = _taken(times)
    values = {"roof_fraction": _roof_fraction(taken, networks[-1], ours)}
    for network in networks:
        values[f"speedup_{network}"] = _ratio(taken, network, "quiet", "mbrl", 50, ours)
    values["speedup_pytorch_mppi"] = min(_ratio(taken, network, "quiet", "mppi", 50, ours) for network in networks)
    if any(condition == "contended" for _, condition, _ in taken):
        values[CONTENDED] = _contended(taken, networks, ours)
    return values


def redrawn(times: Sequence[Evaluation], generator: np.random.Generator) -> list[Evaluation]:
    """As many rounds of each condition and network, drawn from them with replacement: rounds, not evaluations, are
    independent."""
    rounds: dict[tuple[str, str], dict[int, list[Evaluation]]] = {}
    for one in times:
        rounds.setdefault((one.network, one.condition), {}).setdefault(one.round, []).append(one)
    return [
        one
        for numbered in rounds.values()
        for number in generator.choice(list(numbered), len(numbered))
        for one in numbered[int(number)]
    ]


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


Taken = dict[tuple[str, str, str], np.ndarray]
"""ms by network, condition and contestant."""


def _taken(times: Sequence[Evaluation]) -> Taken:
    groups: dict[tuple[str, str, str], list[float]] = {}
    for one in times:
        groups.setdefault((one.network, one.condition, one.contestant), []).append(one.ms)
    return {key: np.array(group) for key, group in groups.items()}


def _contended(taken: Taken, networks: Sequence[Network], ours: str) -> float:
    return min(_ratio(taken, network, "contended", "m", 99, ours) for network in networks)


def _roof_fraction(taken: Taken, network: Network, ours: str) -> float:
    own, roof = (float(np.median(taken[str(network), "quiet", name])) for name in (ours, ROOF))
    return (network.flops / own) / (2.0 * ROOF_SIZE**3 / roof)


def _ratio(taken: Taken, network: Network, condition: str, peer: str, share: float, ours: str) -> float:
    """Percentile of the best peer whose name begins so over that of ours."""
    theirs = [
        float(np.percentile(ms, share))
        for (of, under, name), ms in taken.items()
        if (of, under) == (str(network), condition) and name.startswith(peer) and "/" in name
    ]
    return min(theirs) / float(np.percentile(taken[str(network), condition, ours], share))


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
