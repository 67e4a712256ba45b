"""Weights that `bench plan` learns itself, kept beside its episodes: rounding elsewhere would learn another model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior


def kept(path: Path, prior: Prior, make: Callable[[], ProbabilisticEnsemble]) -> ProbabilisticEnsemble:
    """What lies at ``path``; made and put there first where nothing does. ``prior``: as the arm is described."""
    if not path.exists():
        made, draft = make(), path.with_suffix(".draft")
        tensors = {name: value.detach().clone().contiguous() for name, value in made.state_dict().items()}
        save_file(tensors, draft, {"shape": json.dumps(asdict(made.shape))})
        draft.replace(path)
    with safe_open(path, framework="pt") as file:
        shape = EnsembleShape(**json.loads(file.metadata()["shape"]))
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    if isinstance(prior, RigidBodyPrior):
        prior = prior.with_found(tensors["friction"].numpy(), tensors["load"].numpy())
    ensemble = ProbabilisticEnsemble(shape, prior, torch.Generator().manual_seed(0))
    ensemble.load_state_dict(tensors)
    return ensemble.eval()


def fingerprint(ensemble: ProbabilisticEnsemble) -> str:
    """Twelve hexadecimal digits of all weights and scalings."""
    digest = hashlib.sha256()
    for name, value in sorted(ensemble.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
