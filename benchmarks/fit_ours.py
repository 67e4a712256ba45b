"""Our side of `bench fit`: ``python -m benchmarks.fit_ours KIND THREADS ROWS.npz SETTINGS.json``, then an epoch a line.

KIND `ours`, as fits are by default, or `plain`, without oneDNN.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks.fit_child import serve
from benchmarks.fit_rows import Rows
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.train import Problem, member_nll, run_epoch, training_of


def compete() -> None:
    kind, threads, path, told = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    rows = Rows.load(path, told["share"])
    settings = FitSettings(
        trained_members=told["members"],
        width=told["width"],
        depth=told["depth"],
        epochs=told["our_epochs"],
        batch_size=told["batch"],
        learning_rate=told["our_rate"],
        threads=threads,
        onednn=None if kind == "ours" else False,
    )
    joints = rows.train.targets.shape[1] // 3
    history = rows.train.features.shape[1] // joints - 4
    shape = EnsembleShape(settings.networks, joints, history, settings.width, settings.depth)
    generator = torch.Generator().manual_seed(told["seed"])
    # The rows are residuals already: which prior they are beside is not asked again.
    ensemble = ProbabilisticEnsemble(shape, NominalPrior(0.02, (0.0,) * joints), generator)
    training, problem = training_of(ensemble, generator, settings), Problem(rows.train, rows.held, settings)

    def epoch() -> int:
        run_epoch(training, problem)
        return -(-len(rows.train.weights) // settings.batch_size)

    with settings.on_torch():
        serve(epoch, lambda: float(member_nll(ensemble, rows.held).mean()), sys.stdout, {"threads": threads})


if __name__ == "__main__":
    compete()
