"""One shard's rows in order, however many: batches flow in, pieces of the ordered table without duplicates flow out.

Rows that fit are sorted at once. More are sorted in runs, which go to scratch files, and the runs are merged a window
at a time (D. E. Knuth, The Art of Computer Programming, volume 3, section 5.4). Memory doesn't grow with the rows.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from millrace.buffers import array_of, one_table
from millrace.data.shard import complete_rows, sort_and_deduplicate
from millrace.memory import release_unused
from millrace.spec import Pipeline

HELD = 32 << 20
"""Bytes of rows that are sorted at once; sorting takes several times as many."""
SCRATCH_ROWS = 4096  # of a batch in a scratch file: the least that a merge holds of each run


def ordered(
    batches: Iterable[pa.RecordBatch], pipeline: Pipeline, *, held: int = HELD
) -> Iterator[tuple[pa.Table, int]]:
    """Pieces of the shard's ordered rows, and how many duplicates were merged in each.

    Together they are what `millrace.data.shard.sort_and_deduplicate` makes of all rows, whatever `held` (bytes sorted
    at once) is. Held beside them are: all rows of one key where `deduplicate.by` is given, else all copies of one row
    that differ by where they came from; and 4,096 rows and an open file for each run of `held` bytes. Scratch files lie
    in the working folder: that of a task is its own under most engines, and goes with it.

    >>> columns = {"user": {"type": "string", "role": "key"}}
    >>> pipeline = Pipeline(name="p", source={"uri": "x", "interval": "none"}, columns=columns, shard={"by": "user"})
    >>> batches = [pa.record_batch({"user": users}) for users in (["c", "a"], ["b", "a"])]
    >>> pieces = list(ordered(batches, pipeline, held=1))
    >>> pa.concat_tables(table for table, _ in pieces)["user"].to_pylist(), sum(copies for _, copies in pieces)
    (['a', 'b', 'c'], 1)
    """
    runs: list[_Run] = []
    duplicates = 0
    with contextlib.ExitStack() as scratch:
        for rows, last in _gathered(batches, held):
            found, merged = sort_and_deduplicate(rows, pipeline)
            duplicates += merged
            if last and not runs:
                yield found, duplicates
                return
            if not runs:
                folder = scratch.enter_context(tempfile.TemporaryDirectory(prefix="millrace-sort-", dir=Path.cwd()))
            runs.append(scratch.enter_context(contextlib.closing(_Run(Path(folder, f"{len(runs)}.arrow"), found))))
            del rows, found  # not to be held while the next rows are gathered
            release_unused()
        for piece, merged in _merged(runs, pipeline, held // 2):
            yield piece, duplicates + merged
            duplicates = 0
            release_unused()


def _gathered(batches: Iterable[pa.RecordBatch], held: int) -> Iterator[tuple[pa.Table, bool]]:
    """Tables of at least `held` bytes, and what is left, which alone is told to be the last.

    Their types are the first one's: what is dictionary-encoded there is in all of them.
    """
    waiting: list[pa.RecordBatch] = []
    size = 0
    schema: pa.Schema | None = None
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= held:
            rows, waiting, size = one_table(waiting), [], 0
            schema = schema or rows.schema
            yield rows.cast(schema), False
            del rows
    if waiting:
        rows = one_table(waiting)
        yield rows.cast(schema or rows.schema), True


class _Run:
    """A sorted run in a scratch file, and the window of it that is at hand: its first rows that aren't put out yet."""

    def __init__(self, path: Path, rows: pa.Table) -> None:
        with pyarrow.ipc.new_file(str(path), rows.schema) as writer:
            writer.write_table(rows, max_chunksize=SCRATCH_ROWS)
        self._file = pa.OSFile(str(path))
        self._reader = pyarrow.ipc.open_file(self._file)
        self._next = 0
        self.rows, self.bytes = rows.num_rows, rows.nbytes
        self.window = rows.schema.empty_table()  # a slice of them would hold all

    @property
    def more(self) -> bool:
        """Whether rows are left in the file."""
        return self._next < self._reader.num_record_batches

    def fill(self, rows: int) -> None:
        """Read until the window has so many rows, or the file ends."""
        batches = []
        held = self.window.num_rows
        while held < rows and self.more:
            batches.append(self._reader.get_batch(self._next))
            self._next += 1
            held += batches[-1].num_rows
        if batches:
            self.window = pa.concat_tables([self.window, pa.Table.from_batches(batches)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _merged(runs: list[_Run], pipeline: Pipeline, held: int) -> Iterator[tuple[pa.Table, int]]:
    """The rows of all runs in order, in pieces of about `held` bytes.

    Windows are alike at first. Where one run holds the others up, its next window is twice as large: runs may follow
    one another, as rows that came in their order do.
    """
    most = max(1, held * sum(run.rows for run in runs) // max(1, sum(run.bytes for run in runs)))
    least = max(1, most // max(1, len(runs)))
    grown: dict[_Run, int] = {}
    while runs:
        for run in runs:
            run.fill(grown.get(run, least))
        table = pa.concat_tables([run.window for run in runs]).unify_dictionaries()
        ends = np.cumsum([run.window.num_rows for run in runs])
        # Behind the last row of a window that goes on, rows may be missing: what stands before it is complete.
        unsure = [int(end) - 1 for end, run in zip(ends, runs, strict=True) if run.more]
        complete, kept = complete_rows(table, pipeline, unsure)
        if len(complete):
            yield table.take(array_of(kept)), len(complete) - len(kept)
            _drop(runs, np.bincount(np.searchsorted(ends, complete, side="right"), minlength=len(runs)))
        else:  # rows that belong together fill a window
            for run in runs:
                run.fill(2 * max(run.window.num_rows, least))
        if unsure and 2 * len(complete) < table.num_rows:
            slow = min((run for run in runs if run.more), key=lambda run: run.window.num_rows, default=None)
            grown = {} if slow is None else {slow: min(2 * grown.get(slow, least), most)}
        runs = [run for run in runs if run.window.num_rows or run.more]


def _drop(runs: Sequence[_Run], counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    """Take so many rows off the windows: each is in order, so that they are its first."""
    for run, count in zip(runs, counts.tolist(), strict=True):
        run.window = run.window.slice(count)
