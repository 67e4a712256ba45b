"""Our side of `bench fit`: ``python -m benchmarks.fit_ours SETTINGS``, of `fit_contest.command`; an epoch a line."""

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
    told = json.loads(sys.argv[1])
    rows = Rows.load(Path(told["rows"]), told["share"])
    settings = FitSettings(
        trained_members=told["members"],
        width=told["width"],
        depth=told["depth"],
        epochs=told["epochs"],
        batch_size=told["batch"],
        learning_rate=told["rate"],
        threads=told["threads"],
        onednn=told["onednn"],
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
        facts = {"threads": settings.threads}
        serve(epoch, lambda: float(member_nll(ensemble, rows.held).mean()), sys.stdout, facts)


if __name__ == "__main__":
    compete()
