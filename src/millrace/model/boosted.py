"""Gradient-boosted trees as bit masks: a fitted HistGradientBoosting pipeline in; tables of masks per feature out.

A tree's leaves are numbered from left to right, one bit each. A node where a row goes right rules out the leaves of its
left subtree, so that the leaf that a row reaches is the lowest bit that no node rules out (QuickScorer: Lucchese et
al., 2015, doi:10.1145/2766462.2767733). Between two thresholds of a feature all values rule out the same leaves: a
number becomes its place among the thresholds, a category's is known by its code, and what a feature rules out in all
trees of a 64-bit word is one gather. Leaf values are added in the order of the trees: the sums are scikit-learn's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.model.additive import expit
from millrace.model.features import Feature, FeaturePlan, gather, numbers

Array = np.ndarray[Any, Any]
WORD = 64  # bits, and so the leaves of the trees that share a word
EVERY_LEAF = np.uint64(2**WORD - 1)
CHUNK_ROWS = 32_768  # the words of a chunk stay within the cache

Edges = dict[int, Array | None]


@dataclass(frozen=True)
class Axis:
    """A feature that trees ask for, and its bins: the last is for missing values.

    A number's bin is its place among `edges`; a code's is `bins[code + 1]`.
    """

    feature: Feature
    edges: Array | None
    bins: Array | None

    def of(self, batch: pa.RecordBatch | pa.Table) -> Array:
        """The bin of every row."""
        if self.bins is not None:
            return gather(batch, self.feature, self.bins)
        assert self.edges is not None
        return place(numbers(batch, self.feature), self.edges)


@dataclass(frozen=True)
class Word:
    """Trees with 64 leaves at most together: `masks` by position of the axis, and for each tree shift and values."""

    masks: list[tuple[int, Array]]
    trees: list[tuple[np.uint64, Array]]


@dataclass(frozen=True)
class BoostedTrees:
    """The sum of the leaves that a row reaches."""

    baseline: float
    axes: list[Axis]
    words: list[Word]

    def probabilities(self, batch: pa.RecordBatch | pa.Table) -> Array:
        """The probability of the positive label for every row."""
        bins = [axis.of(batch) for axis in self.axes]
        total = np.full(batch.num_rows, self.baseline)
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            self._add([each[rows] for each in bins], total[rows])
        return expit(total)

    def _add(self, bins: list[Array], total: Array) -> None:
        reached, found = np.empty(len(total), np.uint64), np.empty(len(total), np.uint64)
        for word in self.words:
            reached.fill(EVERY_LEAF)
            for axis, masks in word.masks:
                reached &= masks.take(bins[axis], out=found, mode="clip")
            for shift, values in word.trees:
                np.right_shift(reached, shift, out=found)
                below = ~found & (found - np.uint64(1))  # the bits below the lowest one that is set
                total += values.take(np.bitwise_count(below))


def make_boosted(estimator: Any, plan: FeaturePlan) -> BoostedTrees | None:
    """The trees of a fitted pipeline of HistGradientBoosting as masks.

    None where a tree has more than 64 leaves, or features are mixed (PCA) before the trees see them.
    """
    classifier = estimator.named_steps["classify"]
    trees = [predictor for each in classifier._predictors for predictor in each]
    if estimator.named_steps["shape"] != "passthrough" or max(int(t.nodes["is_leaf"].sum()) for t in trees) > WORD:
        return None
    edges = _edges(trees)
    seen = _seen(estimator, plan)
    place_of = {column: number for number, column in enumerate(edges)}
    axes = []
    for column, among in edges.items():
        at, by_code = seen[column]
        bins = None if by_code is None else place(by_code, among)
        axes.append(Axis(plan.features[at], among, bins))
    words: list[Word] = []
    room = 0
    for tree in trees:
        values, masks = _leaves(tree, edges)
        if len(values) > room:
            words.append(Word([], []))
            room = WORD
        _join(words[-1], WORD - room, values, {place_of[column]: mask for column, mask in masks.items()})
        room -= len(values)
    return BoostedTrees(float(classifier._baseline_prediction[0, 0]), axes, words)


def place(values: Array, edges: Array | None) -> Array:
    """The bin of each value: how many edges lie below it, or, without edges, the value; the last bin for NaN.

    >>> place(np.array([0.5, 1.0, 1.5, np.nan]), np.array([1.0, 2.0])).tolist()
    [0, 0, 1, 3]
    """
    unknown = np.isnan(values)
    if edges is None:
        return np.where(unknown, CATEGORIES, values).astype(np.intp)
    found = np.searchsorted(edges, values, side="left")
    found[unknown] = len(edges) + 1
    return found


CATEGORIES = 256  # scikit-learn numbers the values of a native category 0 … 254


def _edges(trees: list[Any]) -> Edges:
    """By column of the trees' input, in ascending order: the thresholds, or None for a native category."""
    inner = np.concatenate([tree.nodes[tree.nodes["is_leaf"] == 0] for tree in trees])
    found: Edges = {}
    for column in np.unique(inner["feature_idx"]).tolist():
        nodes = inner[inner["feature_idx"] == column]
        found[column] = None if nodes["is_categorical"].any() else np.unique(nodes["num_threshold"])
    return found


def _seen(estimator: Any, plan: FeaturePlan) -> list[tuple[int, Array | None]]:
    """For each column that the trees see: the position of its feature, and what they see of each code (from -1 on)."""
    import pandas as pd

    classifier = estimator.named_steps["classify"]
    rows = max([feature.codes for feature in plan.features if feature.kind != "numeric"], default=1)
    codes = np.arange(-1, rows - 1, dtype=np.int32)
    frame = pd.DataFrame(
        {
            feature.name: np.zeros(rows) if feature.kind == "numeric" else np.minimum(codes, feature.codes - 2)
            for feature in plan.features
        }
    )
    matrix = classifier._preprocess_X(estimator.named_steps["encode"].transform(frame), reset=False)
    native = classifier.is_categorical_
    order = range(len(plan.features)) if native is None else [*np.flatnonzero(native), *np.flatnonzero(~native)]
    found: list[tuple[int, Array | None]] = []
    for column, at in enumerate(order):
        feature = plan.features[at]
        found.append((int(at), None if feature.kind == "numeric" else matrix[: feature.codes, column]))
    return found


def _leaves(tree: Any, edges: Edges) -> tuple[list[float], dict[int, Array]]:
    """The values of a tree's leaves from left to right; by column and bin, the leaves that it doesn't rule out."""
    values: list[float] = []
    masks: dict[int, Array] = {}

    def walk(at: int) -> None:
        node = tree.nodes[at]
        if node["is_leaf"]:
            values.append(float(node["value"]))
            return
        column, first = int(node["feature_idx"]), len(values)
        walk(node["left"])
        ruled_out = np.uint64((1 << len(values)) - (1 << first))
        right = ~_goes_left(node, tree.raw_left_cat_bitsets, edges[column])
        mask = masks.setdefault(column, np.full(len(right), EVERY_LEAF))
        mask[right] &= ~ruled_out
        walk(node["right"])

    walk(0)
    return values, masks


def _goes_left(node: Any, bitsets: Array, edges: Array | None) -> Array:
    """By bin, whether its values go left at an inner node."""
    if edges is None:
        numbers = np.arange(CATEGORIES)
        left = (bitsets[node["bitset_idx"]][numbers // 32] >> (numbers % 32).astype(np.uint32)) & 1 == 1
    else:
        left = np.append(edges <= node["num_threshold"], bool(np.isposinf(node["num_threshold"])))
    return np.append(left, bool(node["missing_go_to_left"]))


def _join(word: Word, shift: int, values: list[float], masks: dict[int, Array]) -> None:
    """Put a tree's leaves into a word, from bit `shift` on."""
    others = EVERY_LEAF ^ np.uint64(((1 << len(values)) - 1) << shift)
    held = dict(word.masks)
    for axis, mask in masks.items():
        held[axis] = held.get(axis, EVERY_LEAF) & ((mask << np.uint64(shift)) | others)
    word.masks[:] = sorted(held.items())
    word.trees.append((np.uint64(shift), np.array(values)))
