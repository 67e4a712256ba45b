"""mbrl-lib's side of `bench fit`: ``python fit_peers.py SETTINGS``, JSON of `fit_contest.command`; an epoch a line.

Its `ModelTrainer` trains its `GaussianMLP` of the same layers, SiLU and batch, on permuted rows, for one epoch a call;
rows are scaled as ours are, so it needs no normalizer, and it is spared its own evaluations: held-out NLL is computed
outside of the time that is counted, as for ours. Its Adam and its weight decay (1e-5) are its own in every run; where a
run has our schedule, torch's cosine sets the rate of that Adam between epochs.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import warnings

import numpy as np
import torch
from fit_child import serve


def compete() -> None:
    told = json.loads(sys.argv[1])
    said, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    warnings.filterwarnings("ignore")
    torch.set_num_threads(told["threads"])
    torch.set_float32_matmul_precision("medium" if told["onednn"] else "highest")
    torch.manual_seed(told["seed"])
    from mbrl.models import GaussianMLP, ModelTrainer, OneDTransitionRewardModel
    from mbrl.util.replay_buffer import BootstrapIterator

    with np.load(told["rows"]) as arrays:
        count = round(told["share"] * len(arrays["train_features"]))
        features, targets = arrays["train_features"][:count], arrays["train_targets"][:count]
        held_features, held_targets = (torch.from_numpy(arrays[f"held_{kind}"]) for kind in ("features", "targets"))
    network = GaussianMLP(
        features.shape[1],
        targets.shape[1],
        "cpu",
        num_layers=told["depth"],
        ensemble_size=told["members"],
        hid_size=told["width"],
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    model = OneDTransitionRewardModel(network, target_is_delta=False, normalize=False, learned_rewards=False)
    trainer = ModelTrainer(model, optim_lr=told["rate"], weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, told["epochs"]) if told["cosine"] else None
    generator = np.random.default_rng(told["seed"])
    batches = BootstrapIterator(
        _batch(features, targets), told["batch"], told["members"], shuffle_each_epoch=True, rng=generator
    )

    def epoch() -> int:
        trainer.train(batches, num_epochs=1, evaluate=False, silent=True)
        if schedule is not None:
            schedule.step()
        return len(batches)

    def held_nll() -> float:
        with torch.no_grad():
            mean, log_variance = network.forward(held_features, use_propagation=False)
            nll = 0.5 * ((mean - held_targets).square() / log_variance.exp() + log_variance + math.log(2.0 * math.pi))
        return float(nll.sum(-1).mean())

    serve(epoch, held_nll, said, {"threads": torch.get_num_threads()})


def _batch(features: np.ndarray, targets: np.ndarray) -> object:
    """As transitions: the first features are the observation, because the next one has to be as long as it."""
    from mbrl.types import TransitionBatch

    outputs = targets.shape[1]
    named = {"obs": features[:, :outputs], "act": features[:, outputs:], "next_obs": targets}
    ends = {
        field.name: np.zeros(len(targets), np.float32 if field.name == "rewards" else bool)
        for field in dataclasses.fields(TransitionBatch)
        if field.name not in named
    }
    return TransitionBatch(**named, **ends)


if __name__ == "__main__":
    compete()
