"""The state of a running fit in one file: resumed, it gives what it would have given, to the bit.

Tensors as safetensors, all else as JSON in that file's header, so that one rename replaces both. A fit that was killed
between two checkpoints does the epochs since the last one again, with the generator as it was there.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from mbrl_control.learning.errors import DataError
from mbrl_control.learning.fit_settings import Checkpointing, FitSettings
from mbrl_control.learning.train import Training
from mbrl_control.signals import Array, Transitions

FILE = "fit.safetensors"
_FORMAT = 1
_FREE = ("checkpoint", "max_seconds")
"""Settings that do not change what is fitted."""


class CheckpointRefused(DataError):
    """A checkpoint that is unreadable or of another fit; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a fit is of: resuming another one would mix two."""

    rows: str
    """SHA-256 of the rows and their weights."""
    start: str
    """SHA-256 of weights, scaling and generator at epoch 0: of seed, prior and parent."""
    settings: dict[str, Any]


def identity_of(
    transitions: Transitions, row_weights: Array | None, training: Training, settings: FitSettings
) -> Identity:
    """Of a fit at epoch 0."""
    rows = hashlib.sha256()
    for field in fields(transitions):
        _add(rows, getattr(transitions, field.name))
    if row_weights is not None:
        _add(rows, row_weights)
    start = hashlib.sha256(training.generator.get_state().numpy().tobytes())
    for name, value in sorted(training.ensemble.state_dict().items()):
        start.update(name.encode())
        _add(start, value.numpy())
    said = {name: value for name, value in asdict(settings).items() if name not in _FREE}
    return Identity(rows.hexdigest(), start.hexdigest(), json.loads(json.dumps(said)))


def save(folder: Path, training: Training, identity: Identity) -> None:
    """Replace the checkpoint in ``folder`` in one step; OSError where that cannot be written leaves the one before."""
    header = {
        "format": _FORMAT,
        "identity": asdict(identity),
        "epoch": training.epoch,
        "best_epoch": training.best_epoch,
        "best_score": training.best_score.hex(),
        "learning_rate": float(training.optimizer.param_groups[0]["lr"]).hex(),
        "schedule": training.schedule.state_dict(),
    }
    said, tensors = json.dumps(header), _tensors(training)
    content = save_tensors(tensors, {"fit": said, "sha256": _digest(said, tensors)})
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE
    draft = target.with_name(f".{FILE}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def forget(checkpoint: Checkpointing | None) -> None:
    """Of a fit that has been used: the next one with this folder is another one, and begins anew."""
    if checkpoint is not None:
        (checkpoint.folder / FILE).unlink(missing_ok=True)


def resume(folder: Path, training: Training, identity: Identity) -> bool:
    """Bring ``training``, at epoch 0, to the state in ``folder``; False where there is none.

    Raises CheckpointRefused.
    """
    path = folder / FILE
    if not path.exists():
        return False
    header, tensors = _read(path)
    _require_same(path, header["identity"], identity)
    ensemble = training.ensemble
    ensemble.load_state_dict({name: tensors[f"weights.{name}"] for name in ensemble.state_dict()})
    training.best = {name: tensors[f"best.{name}"] for name in ensemble.state_dict()}
    for name, parameter in ensemble.named_parameters():
        training.optimizer.state[parameter] = {key: tensors[f"{key}.{name}"] for key in _MOMENTS}
    training.schedule.load_state_dict(header["schedule"])
    training.optimizer.param_groups[0]["lr"] = float.fromhex(header["learning_rate"])
    training.generator.set_state(tensors["generator"])
    training.epoch, training.best_epoch = header["epoch"], header["best_epoch"]
    training.best_score = float.fromhex(header["best_score"])
    return True


_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of a parameter."""


def _tensors(training: Training) -> dict[str, torch.Tensor]:
    named = {f"weights.{name}": value for name, value in training.ensemble.state_dict().items()}
    named |= {f"best.{name}": value for name, value in training.best.items()}
    for name, parameter in training.ensemble.named_parameters():
        named |= {f"{key}.{name}": training.optimizer.state[parameter][key] for key in _MOMENTS}
    named["generator"] = training.generator.get_state()
    # Copies: what the best weights share with the present ones cannot be written twice.
    return {name: value.detach().clone().contiguous() for name, value in named.items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            said, sha256 = (file.metadata()[key] for key in ("fit", "sha256"))
            names: list[str] = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        if _digest(said, tensors) != sha256:
            raise ValueError("changed since it was written")
        header = json.loads(said)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointRefused(f"{path}: no checkpoint of a fit ({error}); delete it to begin anew") from error
    if header.get("format") != _FORMAT:
        raise CheckpointRefused(f"{path}: format {header.get('format')}, this reads {_FORMAT}; delete it to begin anew")
    return header, tensors


def _digest(said: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all that is resumed from: one flipped bit would give another fit that looks like this one."""
    digest = hashlib.sha256(said.encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        _add(digest, value.numpy())
    return digest.hexdigest()


def _require_same(path: Path, made: dict[str, Any], identity: Identity) -> None:
    told = asdict(identity)
    settings = [
        f"settings.{name} was {made['settings'].get(name)}, is {value}"
        for name, value in told["settings"].items()
        if made["settings"].get(name) != value
    ]
    reasons = settings
    if made["rows"] != told["rows"]:
        reasons = [*reasons, "the rows or their weights are others"]
    if made["start"] != told["start"] and not reasons:
        reasons = ["seed, prior or parent is another"]
    if reasons:
        raise CheckpointRefused(
            f"{path}: of another fit: {'; '.join(reasons)}. Give the same again, or another folder to begin anew"
        )


def _add(digest: Any, array: Any) -> None:
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
