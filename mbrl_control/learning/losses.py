"""What a model loses on each held-out block: the pairs that the gate's bootstrap draws from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_control.block_bootstrap import block_means
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.errors import DataError
from mbrl_control.learning.open_loop import predictions, whole_windows
from mbrl_control.learning.score import prior_alone
from mbrl_control.replay.blocks import BLOCK_NS
from mbrl_control.signals import Array, Transitions

LOSS_STEPS = 15


@dataclass(frozen=True, slots=True)
class BlockLosses:
    """Of one model on n blocks."""

    blocks: NDArray[np.int64]
    """[n] numbers of the blocks (`replay.blocks`), increasing."""
    position: Array
    """[n] rad, RMS over windows and joints of the position's error after 15 steps open loop."""
    nll: Array | None
    """[n] nats per row of one step, SI; None of a prior, whose spread means nothing."""


def losses_of(ensemble: ProbabilisticEnsemble, rows: Transitions) -> BlockLosses:
    """Of rows one model step apart; DataError where no window of 15 steps is whole."""
    one, far = predictions(ensemble, rows, (1, LOSS_STEPS))
    blocks, position = _position_losses(far.error[:, : ensemble.shape.joints], rows, far.starts)
    _, nll = block_means(gaussian_nll(one.error, one.std).sum(axis=1), _block(rows, one.starts))
    return BlockLosses(blocks, position, nll)


def prior_losses(prior: Prior, rows: Transitions) -> BlockLosses:
    """Of what the arm description alone says, on the same windows as `losses_of`."""
    starts = whole_windows(rows, np.arange(len(rows)), LOSS_STEPS)
    position, _ = prior_alone(prior, rows, starts, LOSS_STEPS)[-1]
    blocks, losses = _position_losses(rows.next_position[starts + LOSS_STEPS - 1] - position, rows, starts)
    return BlockLosses(blocks, losses, None)


def paired(candidate: BlockLosses, reference: BlockLosses) -> tuple[BlockLosses, BlockLosses]:
    """Both on the blocks that both were judged on: at other delays the ends of a log hold other rows."""
    common = np.intersect1d(candidate.blocks, reference.blocks)
    if len(common) == 0:
        raise DataError("losses: no block that both models were judged on; log more motion without a gap")
    return _of(candidate, common), _of(reference, common)


def gaussian_nll(error: Array, std: Array) -> Array:
    """Nats of each number, same shape as ``error`` and ``std``."""
    return np.asarray(0.5 * ((error / std) ** 2 + math.log(2.0 * math.pi)) + np.log(std), dtype=np.float64)


def _position_losses(error: Array, rows: Transitions, starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    blocks, squared = block_means(np.mean(error**2, axis=1), _block(rows, starts))
    return blocks, np.sqrt(squared)


def _block(rows: Transitions, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(rows.stamp_ns[starts] // BLOCK_NS, dtype=np.int64)


def _of(losses: BlockLosses, blocks: NDArray[np.int64]) -> BlockLosses:
    place = np.searchsorted(losses.blocks, blocks)
    return BlockLosses(blocks, losses.position[place], None if losses.nll is None else losses.nll[place])
