"""A replay buffer: rows of real or synthetic steps, the newest in a ring or all of them, each with its provenance.

    append:  check all -> encode a piece -> release what it overwrites -> write its rows -> write the counts
    sample:  draw serials -> one gather of whole rows into a batch made before

A process that is killed at any point leaves the rows up to the last counts, whole (`home.open_buffer`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.batch import Batch
from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.buffer_header import Counts, HeaderFile
from mbrl_control.replay.layout import BufferSpec, Rows, Words
from mbrl_control.replay.provenance import OriginTable
from mbrl_control.replay.steps import Last, Steps, check_steps, encode, number_runs
from mbrl_control.replay.storage import Storage

PIECE = 8192
"""Rows that are written and committed at once."""


class ReplayBuffer:
    """Made by `home.memory_buffer`, `home.create_buffer`, `home.open_buffer`. Not thread-safe: one thread owns it.

    Rows are named by their serial, which counts all rows ever appended; ``first`` to ``end`` are held. Views are
    read-only; those of a ring show newer rows once theirs are overwritten.
    """

    def __init__(
        self,
        name: str,
        spec: BufferSpec,
        storage: Storage,
        origins: OriginTable,
        header: HeaderFile | None = None,
        held: Counts | None = None,
    ) -> None:
        """``name`` stands in errors; ``held``: what ``storage`` holds already."""
        self.name = name
        self.spec = spec
        self.origins = origins
        """What the column ``origin`` of the rows means."""
        self._storage = storage
        self._header = header
        self._first, self._count = (held.first, held.count) if held else (0, 0)
        self._clean = held is not None and held.clean
        self._closed = False
        self._last: Last | None = None  # after reopening nothing is joined: rows may be missing
        newest = self.view(self.end - 1, 1)[0] if self._count else None
        self._next_run = 0 if newest is None else int(newest["run"]) + 1
        self.next_episode = 0 if newest is None else int(newest["episode"]) + 1
        """A number that no episode of the buffer has."""
        self._piece = min(PIECE, spec.capacity or PIECE)
        self._scratch: Words = np.empty((self._piece, spec.layout.words), dtype=np.uint64)

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> int:
        """Serial of the oldest row."""
        return self._first

    @property
    def end(self) -> int:
        """Serial that the next row will get."""
        return self._first + self._count

    def append(self, steps: Steps) -> None:
        """Append all steps, or none if they are not as the layout says.

        BufferFault: bad steps (nothing was written), or a disk that is full or fails: then whole pieces of 8192 steps
        may have been committed, see ``end``.
        """
        self._require_open()
        check_steps(self.spec.layout, steps, max(0, self.next_episode - 1), self.name)
        if len(steps) == 0:
            return
        origin = self.origins.numbers(steps.origins)[steps.origin]
        for begin in range(0, len(steps), self._piece):
            end = min(begin + self._piece, len(steps))
            self._append_piece(steps.part(begin, end), origin[begin:end])

    def sample(self, batch: Batch, generator: np.random.Generator) -> None:
        """Fill ``batch`` with rows drawn uniformly, with replacement. BufferFault when the buffer is empty."""
        if self._count == 0:
            raise BufferFault(self.name, "rows", "are none to sample from", "append some, or leave this buffer out")
        self.gather(self._first + generator.integers(0, self._count, size=batch.words.shape[:-1]), batch)

    def gather(self, serials: NDArray[np.int64], batch: Batch) -> None:
        """Copy the rows ``serials`` [B] or [B, k] into ``batch`` of that shape, in one gather."""
        if serials.shape != batch.words.shape[:-1] or batch.layout != self.spec.layout:
            raise BufferFault(
                self.name, "batch", "has another shape or layout", "make it with Batch.empty(layout, ...)"
            )
        if serials.size and (serials.min() < self._first or serials.max() >= self.end):
            raise BufferFault(self.name, "serials", "are not all held", f"ask for {self._first} to {self.end - 1}")
        # Slots are in range; with mode "raise" NumPy would gather into a copy first.
        np.take(self._storage.words, self.slots_of(serials), axis=0, out=batch.words, mode="clip")

    def view(self, serial: int, count: int) -> Rows:
        """[count] rows from ``serial`` on, without a copy. BufferFault: not all held, or across the ring's seam."""
        slot = self.slot_of(serial)
        if serial < self._first or count < 0 or serial + count > self.end or slot + count > self.slots:
            raise BufferFault(self.name, "view", "leaves the buffer or crosses its seam", "see `parts`")
        return self.spec.layout.rows(self._storage.words[slot : slot + count])

    def parts(self) -> tuple[Rows, ...]:
        """All rows, oldest first, as one or two views (none when empty): a ring is cut at its seam."""
        if self._count == 0:
            return ()
        before = min(self._count, self.slots - self.slot_of(self._first))
        after = self._count - before
        older = self.view(self._first, before)
        return (older, self.view(self._first + before, after)) if after else (older,)

    @property
    def slots(self) -> int:
        """Places for rows: of a ring its capacity, else as many as there are rows."""
        return self.spec.capacity or self.end

    def slot_of(self, serial: int) -> int:
        """Place of a row; consecutive rows lie in consecutive places up to ``slots``."""
        return serial % self.spec.capacity if self.spec.capacity else serial

    def sync(self) -> None:
        """When this returns, what was appended outlives a power cut, too."""
        self._require_open()
        self.origins.sync()
        self._storage.sync()
        if self._header:
            self._header.sync()

    def close(self) -> None:
        """Put everything on the disk and mark the files as closed; once. What is held can still be read."""
        if self._closed:
            return
        self._storage.finish(min(self.end, self.slots))
        self.origins.sync()
        if self._header:
            self._write_counts(clean=True)
            self._header.sync()
            self._header.close()
            self._header = None
        self._closed = True
        self.origins.close()
        self._storage.close()

    def _require_open(self) -> None:
        """A descriptor that was given back may be another file's by now."""
        if self._closed:
            raise BufferFault(self.name, "buffer", "is closed", "open it again to append")

    def __enter__(self) -> ReplayBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append_piece(self, steps: Steps, origin: NDArray[np.uint32]) -> None:
        count, spec = len(steps), self.spec
        run = number_runs(steps, self._last, self._next_run, spec.period_ns)
        words = self._scratch[:count]
        rows = encode(spec.layout, steps, self.end, run, origin, words)
        self._release(count)
        self._storage = self._storage.with_room(min(self.end + count, spec.capacity or self.end + count))
        slot = self.slot_of(self.end)
        before = min(count, (spec.capacity or slot + count) - slot)
        self._storage.write(slot, words[:before])
        if before < count:
            self._storage.write(0, words[before:])
        self._count += count
        self._write_counts(clean=False)
        newest = rows[-1]
        self._last = Last(
            int(newest["stamp_ns"]), int(newest["episode"]), bool(newest["terminal"] or newest["truncated"])
        )
        self._next_run, self.next_episode = int(run[-1]) + 1, self._last.episode + 1

    def _release(self, count: int) -> None:
        """No longer count the rows that ``count`` more will overwrite: a kill between must not leave half of them."""
        over = max(0, self._count + count - self.spec.capacity) if self.spec.capacity else 0
        self._first += over
        self._count -= over
        if not over and not self._clean:
            return
        was_clean = self._clean
        self._write_counts(clean=False)
        if was_clean and self._header:
            self._header.sync()  # after a power cut rows changed from here on must not pass as those of a closed buffer

    def _write_counts(self, clean: bool) -> None:
        self._clean = clean
        if self._header:
            self._header.write(Counts(self._first, self._count, len(self.origins), clean))

    def slots_of(self, serials: NDArray[np.int64]) -> NDArray[np.int64]:
        """`slot_of` for many."""
        return serials % self.spec.capacity if self.spec.capacity else serials

    def runs(self, serials: NDArray[np.int64]) -> NDArray[np.int64]:
        """[...] run of each of the rows ``serials`` [...], which must be held."""
        rows = self.spec.layout.rows(self._storage.words)
        return np.asarray(rows["run"][self.slots_of(serials)], dtype=np.int64)
