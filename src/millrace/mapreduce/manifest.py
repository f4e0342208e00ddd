"""How the inline and local runners cut a manifest: lines of splits flow in, one balanced input file a map task out."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mrjob.sim import SimMRJobRunner

from millrace.cores import available_cores
from millrace.data.split import COMPRESSED_WEIGHT, Split


def weight(split: Split) -> int:
    """How much work a split is, in bytes of plain text."""
    compressed = split.format == "parquet" or split.path.lower().endswith((".gz", ".bz2", ".xz", ".zst"))
    return split.size * (COMPRESSED_WEIGHT if compressed else 1) + 1


def balance(weights: Sequence[int], tasks: int) -> list[list[int]]:
    """Places items on at most `tasks` tasks, the heaviest first, each where there is least; order is kept inside.

    >>> balance([5, 1, 1, 1, 1, 1], 2)
    [[0], [1, 2, 3, 4, 5]]
    """
    groups: list[list[int]] = [[] for _ in range(max(1, min(tasks, len(weights))))]
    heap = [(0, number) for number in range(len(groups))]
    for index in sorted(range(len(weights)), key=lambda index: (-weights[index], index)):
        load, number = heapq.heappop(heap)
        groups[number].append(index)
        heapq.heappush(heap, (load + weights[index], number))
    return sorted(sorted(group) for group in groups if group)


class ManifestRunner(SimMRJobRunner):
    """What the inline and the local runner share: the cut of the manifest, progress, and the output's lines."""

    map_tasks: int | None = None
    progress: Callable[[int, int], None] | None = None
    splits_total = 0
    splits_done = 0

    def _split_mapper_input(self, input_paths: Iterable[str], step_num: int) -> list[dict[str, Any]]:
        if step_num > 0:
            results: list[dict[str, Any]] = super()._split_mapper_input(input_paths, step_num)
            return results
        lines = [line for path in input_paths for line in Path(path).read_text("utf-8").splitlines() if line]
        self.splits_total = len(lines)
        weights = [weight(Split.from_json(line)) for line in lines]
        groups = balance(weights, self.map_tasks or self._num_cores())
        for number, group in enumerate(groups):
            path = Path(self._task_input_path("mapper", step_num, number))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{lines[index]}\n" for index in group), "utf-8")
        return [{"file": f"manifest-{number}", "start": 0, "length": 0} for number in range(len(groups))]

    def _num_cores(self) -> int:
        return self._opts["num_cores"] or available_cores()

    def _split_done(self) -> None:
        self.splits_done += 1
        if self.progress is not None:
            self.progress(self.splits_done, self.splits_total)

    def output_lines(self) -> list[bytes]:
        """All lines of the job's output, sorted: the same whatever the number of tasks."""
        folder = Path(self._output_dir)
        return sorted(line for part in sorted(folder.glob("part-*")) for line in part.read_bytes().splitlines())
