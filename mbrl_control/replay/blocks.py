"""Held-out blocks: which rows a model is judged by, chosen by the data's own time stamps, not by chance.

Blocks of 2 s, because neighbouring rows know each other; the choice depends only on the block's time, so the same
log gives the same held-out rows in every retraining and no parent has trained on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.regimes import NewestRegime
from mbrl_control.replay.transitions import select
from mbrl_control.signals import Transitions

BLOCK_NS = 2_000_000_000
MARGIN_NS = 300_000_000
"""Cut at both ends of a held-out block: belongs to neither side, so no window reaches across."""
GROUP = 4
"""One block of so many is held out."""
LEAST_FILLED = 0.5
"""Share of a block's time that must be usable rows for the block to be judged by."""
LEAST_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Split:
    """Row masks [N]; rows in the margins of held-out blocks are in none."""

    train: NDArray[np.bool_]
    held: NDArray[np.bool_]
    blocks: int
    """Number of held-out blocks."""


def split_blocks(rows: Transitions, stride_ns: int) -> Split:
    """Hold out one of every 4 consecutive blocks: the one with the lowest hash of its time.

    That depends on the clock alone, not on the log: a block once held out is so for every later model too, whatever
    has been logged since.
    """
    block, inner = _placed(rows)
    group = block // GROUP
    chosen = {
        number: min(range(number * GROUP, (number + 1) * GROUP), key=_hash) for number in np.unique(group).tolist()
    }
    in_chosen = block == np.array([chosen[number] for number in group.tolist()])
    held = in_chosen & inner & _well_filled(rows, block, stride_ns)
    return Split(train=~in_chosen, held=held, blocks=len(np.unique(block[held])))


def judged_blocks(rows: Transitions, stride_ns: int) -> NDArray[np.bool_]:
    """[N] rows of every block, cut as held-out ones are: of a log that nothing learns from, all of it can judge."""
    block, inner = _placed(rows)
    return inner & _well_filled(rows, block, stride_ns)


def _placed(rows: Transitions) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Block of each row [N], and whether it lies inside of the block's margins [N]."""
    block = rows.stamp_ns // BLOCK_NS
    inner = (rows.stamp_ns - block * BLOCK_NS >= MARGIN_NS) & ((block + 1) * BLOCK_NS - rows.stamp_ns > MARGIN_NS)
    return block, np.asarray(inner, dtype=np.bool_)


def _well_filled(rows: Transitions, block: NDArray[np.int64], stride_ns: int) -> NDArray[np.bool_]:
    """[N] whether each row's block has enough rows of the row's regime to be judged by."""
    pairs = np.stack([rows.session, block], axis=1)
    _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(counts[place] * stride_ns >= LEAST_FILLED * BLOCK_NS, dtype=np.bool_)


def newest_regime(rows: Transitions) -> NDArray[np.bool_]:
    """[N] rows of the highest session: see `replay.regimes.with_regimes`."""
    return np.asarray(rows.session == rows.session.max(), dtype=np.bool_)


def require_newest(rows: Transitions, newest: NewestRegime, payload_kg: float) -> None:
    """TooLittleData where the newest regime has no row: an older one would be taken for it."""
    if int(rows.session.max()) != newest.number:
        raise TooLittleData(
            f"logs: no usable row with the payload declared last, {payload_kg:g} kg; "
            "log motion with it, or leave out what came after the last motion (--phase)"
        )


def require_blocks(rows: Transitions, held: NDArray[np.bool_]) -> int:
    """Number of held-out blocks of the newest regime; TooLittleData when fewer than 8."""
    newest = held & newest_regime(rows)
    blocks = len(np.unique(rows.stamp_ns[newest] // BLOCK_NS))
    if blocks < LEAST_BLOCKS:
        seconds = LEAST_BLOCKS * GROUP * BLOCK_NS * 1e-9
        raise TooLittleData(
            f"logs: {blocks} held-out blocks of the newest regime, {LEAST_BLOCKS} are needed; "
            f"log about {seconds:.0f} s of motion with the present payload"
        )
    return blocks


def thin_to_model_step(rows: Transitions, stride_ns: int, dt_ns: int) -> Transitions:
    """Rows one model step apart, so that the next row of a segment is the next state of a rollout.

    Segments are cut anew where the rows taken are not neighbours (between held-out blocks).
    """
    grid = (rows.stamp_ns - rows.stamp_ns[:1]) // stride_ns
    segment_start = np.concatenate([[True], (np.diff(rows.stamp_ns) != stride_ns) | (np.diff(rows.segment) != 0)])
    first = np.maximum.accumulate(np.where(segment_start, np.arange(len(rows)), 0))
    taken = np.flatnonzero((grid - grid[first]) % (dt_ns // stride_ns) == 0)
    return replace(select(rows, taken), segment=np.cumsum(segment_start)[taken].astype(np.int64))


def _hash(block: int) -> bytes:
    return hashlib.sha256(block.to_bytes(8, "little", signed=True)).digest()
