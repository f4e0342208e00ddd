"""Sharding: which shard each row belongs to, and how the rows of one shard are ordered and deduplicated.

A `ShardPlan` is decided once by the driver (`plan_shards`), recorded as JSON, and read by every task: `assign` gives
each row its shard; `sort_and_deduplicate` makes one shard's rows what is written, whatever order they arrived in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from millrace.buffers import array_of, flags, text_array
from millrace.data.balance import Balance, balance
from millrace.data.convert import TYPES
from millrace.data.hashing import hash_values
from millrace.data.key_sketch import KeySketch
from millrace.data.shard_mistakes import shard_mistakes
from millrace.errors import InputError, RequestError
from millrace.spec import ColumnType, Deduplicate, Pipeline

if TYPE_CHECKING:
    import polars as pl

ADDED = ("row_id", "source_file", "data_interval", "shard")  # columns that say where a row came from, not what it is
NULL_SHARD = 0
PLACE = "__place"
KeyValue = str | int | float
Shards = npt.NDArray[np.int32]
Places = npt.NDArray[np.uint32]


class ShardPlan(BaseModel):
    """How rows are placed, decided once. JSON by `model_dump_json`, read by `model_validate_json`.

    `boundaries` (method range) are the first keys of shard 1, 2, …: shard i holds the keys from boundary i - 1 up to,
    not including, boundary i. Times are ISO 8601 text; strings compare by their UTF-8 bytes. `largest` is the expected
    size of the largest shard over the mean size; where it is above 1.1, `heavy_keys` names the keys that cause it.
    Null keys belong to shard 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str | None
    key_type: ColumnType = "string"
    method: Literal["hash", "range"] = "hash"
    shards: int = 1
    boundaries: list[KeyValue] = []
    heavy_keys: list[KeyValue] = []
    largest: float | None = None


def plan_shards(pipeline: Pipeline, sketch: KeySketch | None = None) -> ShardPlan:
    """The plan of a pipeline: by hash as it stands; by range with the boundaries given, or learned from `sketch`.

    Learned boundaries minimise the largest shard over the keys in the sketch, and cut as evenly as that allows. Without
    a `shard` section all rows are one shard.

    Raises RequestError where boundaries must be learned and there is no sketch, or where the section has mistakes.

    >>> sketch = KeySketch(capacity=1_000)
    >>> sketch.update(pa.array(["a", "b", "b", "c", "d", "d"]), np.arange(6, dtype=np.uint64))
    >>> pipeline = Pipeline(name="p", source={"uri": "x", "interval": "none"},
    ...     columns={"user": {"type": "string", "role": "key"}}, shard={"by": "user", "method": "range", "shards": 2})
    >>> plan_shards(pipeline, sketch).boundaries
    ['c']
    """
    shard = pipeline.shard
    if shard is None:
        return ShardPlan(by=None)
    for found in shard_mistakes(pipeline):
        raise RequestError(".".join(map(str, found.path)), expected=found.expected, found=found.found, hint=found.hint)
    kind = pipeline.columns[shard.by].type
    if shard.method == "hash" or shard.shards == 1:
        return ShardPlan(by=shard.by, key_type=kind, method=shard.method, shards=shard.shards)
    given = None if shard.boundaries is None else shard.boundaries
    if given is None and sketch is None:
        raise RequestError("range boundaries must be learned", expected="a sketch of the keys", found="none")
    if sketch is None:
        return ShardPlan(by=shard.by, key_type=kind, method="range", shards=shard.shards, boundaries=given or [])
    keys, weights = sketch.weights()
    cuts = None if given is None else _search(_series(typed_keys(given, kind)), keys, "left")
    outcome: Balance = balance(weights, shard.shards, cuts)
    texts = key_values(keys.gather(outcome.cuts) if given is None else keys.head(0), kind)
    return ShardPlan(
        by=shard.by,
        key_type=kind,
        method="range",
        shards=shard.shards,
        boundaries=texts if given is None else given,
        heavy_keys=key_values(keys.gather(outcome.heavy), kind),
        largest=round(outcome.largest, 4),
    )


def assign(batch: pa.RecordBatch | pa.Table, plan: ShardPlan) -> Shards:
    """The shard of every row, int32 in [0, plan.shards): a function of the row's key alone.

    >>> batch = pa.record_batch({"user": ["a", "m", "z", None]})
    >>> assign(batch, ShardPlan(by="user", method="range", shards=2, boundaries=["m"])).tolist()
    [0, 1, 1, 0]
    >>> assign(batch, ShardPlan(by="user", shards=4)).tolist()
    [3, 0, 0, 0]
    """
    if plan.by is None:
        return np.zeros(batch.num_rows, np.int32)
    keys = batch.column(plan.by)
    if plan.method == "hash":
        shards = (hash_values(keys) % np.uint64(plan.shards)).astype(np.int32)
    else:
        bounds = _series(typed_keys(plan.boundaries, plan.key_type))
        shards = _search(_series(keys.cast(TYPES[plan.key_type])), bounds, "right").astype(np.int32)
    if keys.null_count:
        shards[_nulls(keys)] = NULL_SHARD
    return shards


def shard_of(key: KeyValue | None, plan: ShardPlan) -> int:
    """The shard that holds one key, given as the user writes it (text is read as the key's type)."""
    if plan.by is None:
        return 0
    typed = typed_keys([key], plan.key_type)
    return int(assign(pa.record_batch({plan.by: typed}), plan)[0])


def sort_and_deduplicate(table: pa.Table, pipeline: Pipeline) -> tuple[pa.Table, int]:
    """One shard's rows in their total order without duplicates, and how many rows were merged.

    Order: key, time, row_id, then every other column, nulls first: the same rows give the same table in whatever
    order they come. Duplicates are rows whose columns are all equal (where they came from aside); or, with
    `deduplicate.by`, rows whose columns `by` are equal and not null: the first or last by `order` (the time column by
    default) stays, and of rows with equal `order` the first in the total order. Rows that are equal in all columns are
    merged in both cases. A null in `order` loses against any value.

    >>> pipeline = Pipeline(name="p", source={"uri": "x", "interval": "none"}, columns={
    ...     "user": {"type": "string", "role": "key"}, "n": {"type": "int64", "role": "numeric"}},
    ...     shard={"by": "user", "deduplicate": {"by": ["user"], "keep": "last", "order": "n"}})
    >>> table = pa.table({"user": ["b", "a", "b", "a"], "n": [1, 5, 3, 5]})
    >>> kept, duplicates = sort_and_deduplicate(table, pipeline)
    >>> kept.to_pylist(), duplicates
    ([{'user': 'a', 'n': 5}, {'user': 'b', 'n': 3}], 2)
    """
    if not table.num_rows:
        return table, 0
    _, kept = complete_rows(table, pipeline)
    return table.take(array_of(kept)).combine_chunks(), table.num_rows - len(kept)


def complete_rows(table: pa.Table, pipeline: Pipeline, unsure: Sequence[int] = ()) -> tuple[Places, Places]:
    """The places of a shard's rows in their total order, and of those that stay when duplicates are merged.

    `unsure`: behind each of these places, other rows of the shard may belong that aren't in the table. Then the order
    ends before the first rows of which a duplicate may be missing.
    """
    order, rule = total_order(table.column_names, pipeline), pipeline.shard.deduplicate if pipeline.shard else None
    places, copies = _in_order(table, order)
    if unsure:
        first = int(np.isin(places.to_numpy(), np.array(unsure)).argmax())
        # Of rows with one key, one stays; rows without a key are duplicates only where they are copies.
        keyed = rule is not None and rule.by and table.column(order[0])[int(places[first])].is_valid
        together = order[:1] if keyed else _leading(order)
        before = _frame(table.select(together))[places.head(first + 1)]
        rows = first + 1 - int(before.select(_as_last(together)).to_series().sum())
        places, copies = places.head(rows), copies.head(rows)
    kept = places
    if rule:
        kept = places.filter(~copies)
        if rule.by:
            kept = _without_same_keys(table, kept, rule, pipeline)
    return places.to_numpy(), kept.to_numpy()


def _in_order(table: pa.Table, order: Sequence[str]) -> tuple[pl.Series, pl.Series]:
    """The places of the rows in order, and which of them equals the one before it, where it came from aside.

    Columns up to row_id come first: they leave few ties, and only tied rows are compared by all other columns. Equal
    rows have equal row_id, so they are tied; unequal rows with one row_id are told apart.
    """
    import polars as pl

    own = [name for name in order if name not in ADDED]
    leading = _leading(order)
    places = pl.int_range(table.num_rows, dtype=pl.UInt32, eager=True).alias(PLACE)
    ordered = _frame(table.select(leading)).with_columns(places).sort(leading, nulls_last=False, maintain_order=True)
    same = ordered.select(_as_before(leading)).to_series()
    tied = same | same.shift(-1, fill_value=False)
    if not tied.any():
        return ordered[PLACE], same
    positions = tied.arg_true()
    found = ordered[PLACE].gather(positions)
    ties = _frame(table.take(found.to_arrow())).with_columns(found)
    ties = ties.sort(order, nulls_last=False, maintain_order=True)
    copies = ties.select(_as_before([*own, "row_id"] if "row_id" in order else own)).to_series()
    return ordered[PLACE].scatter(positions, ties[PLACE]), same.scatter(positions, copies)


def _leading(order: Sequence[str]) -> list[str]:
    """The first columns of the order, in which copies of a row are equal, and few other rows."""
    return list(order[: order.index("row_id") + 1]) if "row_id" in order else [n for n in order if n not in ADDED]


def _as_before(names: Sequence[str]) -> pl.Expr:
    """Whether a row equals the one before it in the columns."""
    import polars as pl

    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in names)
    return (same & (pl.int_range(pl.len()) > 0)).alias("same")


def _as_last(names: Sequence[str]) -> pl.Expr:
    """Whether a row equals the last one in the columns."""
    import polars as pl

    return pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).last()) for name in names)


def total_order(columns: Sequence[str], pipeline: Pipeline) -> list[str]:
    """The columns that order a shard's rows: key, time, row_id, all others; where a row came from is last."""
    first = [pipeline.shard.by if pipeline.shard else None, _time(pipeline), "row_id"]
    others = [name for name in columns if name not in ADDED] + [name for name in ADDED if name in columns]
    return list(dict.fromkeys([name for name in first if name is not None and name in columns] + others))


def _time(pipeline: Pipeline) -> str | None:
    return pipeline.source.time or next(iter(pipeline.by_role("time")), None)


def _without_same_keys(table: pa.Table, places: pl.Series, rule: Deduplicate, pipeline: Pipeline) -> pl.Series:
    """Of the places, in order, those of the first or last row of every group of equal keys."""
    import polars as pl

    keys = list(rule.by or [])
    by = rule.order or _time(pipeline)
    names = [*keys, by] if by is not None else keys
    rows = _frame(table.select(list(dict.fromkeys(names))))[places].with_columns(places).with_row_index("__order")
    keyed = pl.all_horizontal(pl.col(name).is_not_null() for name in keys)
    ranked = rows.filter(keyed)
    if by is not None:
        ranked = ranked.sort(by, "__order", descending=[rule.keep == "last", False], nulls_last=True)
    kept = ranked.unique(keys, keep="first", maintain_order=True)
    return pl.concat([rows.filter(~keyed), kept]).sort("__order")[PLACE]


def _frame(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in table.schema.types]
    frame = pl.from_arrow(table.cast(pa.schema(zip(table.schema.names, kinds, strict=True))))  # texts, not codes
    assert isinstance(frame, pl.DataFrame)
    return frame


def _series(array: pa.Array | pa.ChunkedArray) -> pl.Series:
    """Keys in the form they are compared in: times and booleans as integers, text as text."""
    import polars as pl

    kind = array.type
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_date(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series


def _search(values: pl.Series, bounds: pl.Series, side: Literal["left", "right"]) -> npt.NDArray[np.int64]:
    """Where each value stands among the rising bounds; a null stands first."""
    import polars as pl

    if not len(bounds) or not len(values):
        return np.zeros(len(values), np.int64)
    if values.dtype != pl.String:
        numbers = values.fill_null(0).to_numpy()
        return np.searchsorted(bounds.cast(values.dtype).to_numpy(), numbers, side=side).astype(np.int64)
    return bounds.search_sorted(values.fill_null(""), side=side).to_numpy().astype(np.int64)


def _nulls(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    empty = pc.is_null(keys)
    return flags(empty) if isinstance(empty, pa.Array) else np.concatenate([flags(chunk) for chunk in empty.chunks])


def typed_keys(keys: Sequence[KeyValue | None], kind: ColumnType) -> pa.Array:
    """Keys as the user or a plan writes them, in the key column's type.

    Raises RequestError where one can't be read as that type.

    >>> typed_keys(["2018-04-01 05:30:00"], "timestamp")[0].as_py()
    datetime.datetime(2018, 4, 1, 5, 30)
    """
    target = TYPES[kind]
    try:
        whole = pa.types.is_integer(target) and not all(isinstance(key, str) for key in keys)
        return text_array(None if key is None else str(int(key) if whole else key) for key in keys).cast(target)
    except (pa.ArrowInvalid, ValueError, OverflowError) as error:
        raise RequestError("a key isn't of the column's type", expected=kind, found=str(error)) from None


def key_values(keys: pl.Series, kind: ColumnType) -> list[KeyValue]:
    """Keys in the form they are compared in, as a plan writes them: times as ISO 8601 text."""
    if kind in ("timestamp", "date", "bool"):
        array: Any = keys.to_arrow().cast({"timestamp": pa.int64(), "date": pa.int32(), "bool": pa.int8()}[kind])
        return [str(text) for text in array.cast(TYPES[kind]).cast(pa.string()).to_pylist()]
    values = keys.to_list()
    if any(isinstance(value, float) and value != value for value in values):
        raise InputError("a key is not a number", expected="numbers as keys of ranges", found="NaN")
    return values
