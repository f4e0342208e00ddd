"""The check stage's kernel: expectations over all rows as states that merge.

Typed batches (`convert.convert`) flow in; a `CheckState` per task and interval flows through the shuffle as bytes; the
merged state gives a `Verdict`. Any split of the rows and any order of merging gives the same state, byte for byte.

    state = CheckState(pipeline.check, typed_schema(pipeline))
    state.update(typed.batch)            # each batch of a map task
    state.merge(other)                   # in the reduce task
    state.verdict().raise_failed()       # in the driver

**Memory**: a task holds counters, 20 sample values for each expectation, and, for each column with an expectation on
uniqueness, distinct values, the most common value, quantiles, median or z-scores, its distinct values. `detach(limit)`
takes tables of more than `limit` distinct values out of the state, to be written as sorted runs and given to `verdict`,
which reads them side by side a block at a time: no task then holds more than the distinct values of its own split.

**Equal to Great Expectations**: `to_pandas` gives the frame on which Great Expectations, in memory, gives the same
verdict. Samples are the first in value order (there: in row order); the most common values are cut to 20.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import no_rows
from millrace.data.check_counts import Counted, ValueCounts, blocks, key_values, merge_runs, row_keys
from millrace.data.check_masks import columns_read, consider, domain_mask, judge, prepare
from millrace.data.check_moments import Moments, extremes
from millrace.data.check_rows import RowState
from millrace.data.check_verdict import (
    Evidence,
    Outcome,
    Verdict,
    judge_figures,
    plain,
    row_result,
)
from millrace.data.expectations import EXPECTATIONS, columns_of, rule_name
from millrace.errors import CorruptData
from millrace.spec import Expectation

Run = Callable[[], Iterable[pa.Table]]
_TYPES = ("column_values_to_be_of_type", "column_values_to_be_in_type_list")
_NEEDS = {
    "column_values_to_be_unique": "counts",
    "compound_columns_to_be_unique": "counts",
    "column_value_z_scores_to_be_less_than": "counts moments",
    "column_min_to_be_between": "extremes",
    "column_max_to_be_between": "extremes",
    "column_mean_to_be_between": "moments",
    "column_stdev_to_be_between": "moments",
    "column_sum_to_be_between": "moments",
    "column_median_to_be_between": "counts",
    "column_quantile_values_to_be_between": "counts",
    "column_unique_value_count_to_be_between": "counts",
    "column_proportion_of_unique_values_to_be_between": "counts",
    "column_distinct_values_to_be_in_set": "counts",
    "column_distinct_values_to_equal_set": "counts",
    "column_distinct_values_to_contain_set": "counts",
    "column_most_common_value_to_be_in_set": "counts",
}


@dataclass
class Figures:
    """What is gathered of one column (or of several, as one key) under one row condition."""

    kind: pa.DataType
    needs: set[str] = field(default_factory=set)
    rows: int = 0
    valid: int = 0
    moments: Moments = field(default_factory=Moments)
    low: Any = None
    high: Any = None
    counts: ValueCounts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = ValueCounts(self.kind)

    def update(self, values: pa.Array) -> None:
        """Gather these values, nulls included."""
        self.rows += len(values)
        self.valid += len(values) - values.null_count
        if "moments" in self.needs:
            self.moments = self.moments.merge(Moments.of(values))
        if "extremes" in self.needs:
            self._extend(*extremes(values))
        if "counts" in self.needs:
            self.counts.update(values)

    def merge(self, other: Figures) -> None:
        """Gather what `other` gathered."""
        self.rows += other.rows
        self.valid += other.valid
        self.moments = self.moments.merge(other.moments)
        self._extend(other.low, other.high)
        self.counts.merge(other.counts)

    def _extend(self, low: Any, high: Any) -> None:
        if low is not None:
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)


class CheckState:
    """The state of expectations (validated with their pipeline file) over typed rows of a schema.

    >>> not_null = Expectation(expect="column_values_to_not_be_null", column="fare", mostly=0.5)
    >>> state = CheckState([not_null], pa.schema({"fare": pa.float64()}))
    >>> state.update(pa.record_batch({"fare": [1.5, None, 2.5]}))
    >>> state.verdict().outcomes[0].found_text()
    '1 of 3 rows (33.3 %) not so, such as None'
    """

    def __init__(self, expectations: Sequence[Expectation], schema: pa.Schema) -> None:
        self.expectations = list(expectations)
        self.schema = prepare(no_rows(schema)).schema
        self.rows = 0
        self.column_lists: set[tuple[str, ...]] = set()
        self._names = tuple(schema.names)
        self._row_states = {
            place: RowState.empty(pa.schema([self.schema.field(name) for name in dict.fromkeys(columns_of(each))]))
            for place, each in enumerate(self.expectations)
            if self._is_row_level(each)
        }
        self._figures: dict[str, Figures] = {}
        for place, each in enumerate(self.expectations):
            if place not in self._row_states:
                figures = self._figures.setdefault(_key(each), Figures(self._kind(each)))
                figures.needs |= set(_NEEDS.get(each.expect, "").split())

    def update(self, typed: pa.RecordBatch) -> None:
        """Take in a batch of typed rows; its columns are those that its file has, in the file's order."""
        self.rows += typed.num_rows
        self.column_lists.add(tuple(typed.schema.names))
        batch = prepare(typed)
        for place, state in self._row_states.items():
            state.update(batch, judge(batch, self.expectations[place]))
        done: set[str] = set()
        for place, each in enumerate(self.expectations):
            key = _key(each)
            if place not in self._row_states and key not in done:
                done.add(key)
                self._update_figures(self._figures[key], batch, each)

    def merge(self, other: CheckState) -> None:
        """Take in all that `other` took in; both are of the same expectations and schema."""
        self.rows += other.rows
        self.column_lists |= other.column_lists
        for place, state in self._row_states.items():
            state.merge(other._row_states[place])
        for key, figures in self._figures.items():
            figures.merge(other._figures[key])

    def detach(self, limit: int) -> dict[str, pa.Table]:
        """Take the value counts of more than `limit` distinct values out of the state, by key: tables (value, count),
        sorted by value, to be written as runs and given back to `verdict`."""
        large = {key: figures for key, figures in self._figures.items() if figures.counts.table.num_rows > limit}
        return {key: figures.counts.take() for key, figures in large.items()}

    def verdict(self, runs: Mapping[str, Sequence[Run]] | None = None) -> Verdict:
        """The verdict on all rows taken in. `runs`: what `detach` took out of the merged states, by key; each run, when
        called, gives its blocks in order (it is called once for each expectation that needs it)."""
        outcomes = []
        for place, each in enumerate(self.expectations):
            evidence = self._evidence(place, each, runs or {})
            if EXPECTATIONS[each.expect].level == "row" and not each.expect.endswith("be_null"):
                success, result = row_result(evidence, each.arguments)
            else:
                success, result = judge_figures(each.expect, evidence, each.arguments)
            outcomes.append(
                Outcome(
                    rule=rule_name(each),
                    expect=each.expect,
                    columns=columns_of(each),
                    severity=each.severity,
                    arguments=plain(each.arguments),
                    success=success,
                    result=result,
                )
            )
        return Verdict(rows=self.rows, outcomes=outcomes)

    def to_bytes(self) -> bytes:
        """The state as bytes: JSON and Arrow IPC; equal states give equal bytes."""
        tables = [state.sample for state in self._row_states.values()]
        tables += [_bounds(figures) for figures in self._figures.values()]
        tables += [figures.counts.table for figures in self._figures.values()]
        header = {
            "rows": self.rows,
            "columns": sorted(self.column_lists),
            "row_states": [[each.elements, each.considered, each.unexpected] for each in self._row_states.values()],
            "figures": [[each.rows, each.valid, each.moments.to_json()] for each in self._figures.values()],
        }
        packed = [_pack(table) for table in tables]
        head = json.dumps({**header, "sizes": [len(each) for each in packed]}).encode()
        return b"".join([len(head).to_bytes(8, "little"), head, *packed])

    @classmethod
    def from_bytes(cls, data: bytes, expectations: Sequence[Expectation], schema: pa.Schema) -> CheckState:
        """The state that `to_bytes` wrote, of the same expectations and schema.

        Raises CorruptData where the bytes are another state's, or broken.
        """
        state = cls(expectations, schema)
        try:
            start = 8 + int.from_bytes(data[:8], "little")
            header = json.loads(data[8:start])
            tables = []
            for size in header["sizes"]:
                tables.append(_unpack(data[start : start + size]))
                start += size
            state._restore(header, tables)
        except (ValueError, KeyError, IndexError, pa.ArrowException) as error:
            raise CorruptData(
                "can't read the state of a check", expected="the bytes of its own expectations", found=str(error)
            ) from None
        return state

    def _restore(self, header: Mapping[str, Any], tables: list[pa.Table]) -> None:
        sizes = len(self._row_states), len(self._figures)
        if (len(header["row_states"]), len(header["figures"])) != sizes:
            raise ValueError("other expectations")
        self.rows = header["rows"]
        self.column_lists = {tuple(names) for names in header["columns"]}
        source = iter(tables)
        for state, counts in zip(self._row_states.values(), header["row_states"], strict=True):
            state.elements, state.considered, state.unexpected = counts
            state.sample = next(source).cast(state.sample.schema)
        for figures, (rows, valid, moments) in zip(self._figures.values(), header["figures"], strict=True):
            figures.rows, figures.valid, figures.moments = rows, valid, Moments.from_json(moments)
            figures.low, figures.high = next(source)["bounds"].to_pylist()
        for figures in self._figures.values():
            part = ValueCounts(figures.kind)
            part.add(next(source))
            figures.counts = part

    def _is_row_level(self, expectation: Expectation) -> bool:
        """Whether rows are counted one by one: also types of text columns, as in Great Expectations."""
        if expectation.expect in _TYPES:
            names = expectation.arguments.get("type_list") or [expectation.arguments["type_"]]
            text = pa.types.is_string(self.schema.field(expectation.arguments["column"]).type)
            return text and ("type_list" in expectation.arguments or "object" not in names)
        return EXPECTATIONS[expectation.expect].level == "row"

    def _kind(self, expectation: Expectation) -> pa.DataType:
        columns = columns_of(expectation)
        return self.schema.field(columns[0]).type if len(columns) == 1 else pa.string()

    def _update_figures(self, figures: Figures, batch: pa.RecordBatch, expectation: Expectation) -> None:
        condition = expectation.arguments.get("row_condition")
        columns = columns_of(expectation)
        domain = domain_mask(batch, condition)
        if not columns:
            figures.rows += pc.sum(domain).as_py() or 0
        elif len(columns) == 1:
            values = batch.column(columns[0])
            figures.update(values if condition is None else values.filter(domain))
        else:
            arrays = [batch.column(name) for name in columns]
            considered = pc.and_(domain, consider(arrays, expectation))
            keys = pc.if_else(considered, row_keys(arrays), pa.scalar(None, pa.string()))
            figures.update(keys if condition is None else keys.filter(domain))

    def _evidence(self, place: int, expectation: Expectation, runs: Mapping[str, Sequence[Run]]) -> Evidence:
        domain = EXPECTATIONS[expectation.expect].domain
        lists = sorted(self.column_lists) or [self._names]
        columns = [list(names) for names in lists]
        if place in self._row_states:
            kind = self._row_states[place].sample.schema.field(0).type
            return Evidence(kind, domain, columns, row_state=self._row_states[place])
        key = _key(expectation)
        figures = self._figures[key]
        names = columns_of(expectation)
        kinds = {name: self.schema.field(name).type for name in names}
        return Evidence(
            figures.kind,
            domain,
            columns,
            rows=figures.rows,
            valid=figures.valid,
            moments=figures.moments,
            low=figures.low,
            high=figures.high,
            counted=Counted(_stream(figures, runs.get(key, [])), figures.kind),
            decode=(lambda text: key_values(text, kinds)) if len(names) > 1 else (lambda value: value),
        )


def violations(typed: pa.RecordBatch, expectations: Iterable[Expectation]) -> dict[str, pa.BooleanArray]:
    """For each row-level expectation with severity ``quarantine``: which rows of a typed batch don't meet it.

    Keys are rule names, ``column_values_to_not_be_null(fare)``; rules of the same name are one rule. Masks have no
    nulls. Rows that a row condition leaves out, or whose missing values an expectation ignores, are never violations.
    `mostly` plays no part: it says when the check fails, not which rows are wrong.

    >>> rule = Expectation(expect="column_values_to_not_be_null", column="fare", severity="quarantine")
    >>> violations(pa.record_batch({"fare": [1.5, None]}), [rule])["column_values_to_not_be_null(fare)"].to_pylist()
    [False, True]
    """
    found: dict[str, pa.BooleanArray] = {}
    for each in expectations:
        if each.severity == "quarantine" and EXPECTATIONS[each.expect].level == "row":
            mask, name = judge(prepare(typed.select(columns_read(each))), each).unexpected, rule_name(each)
            found[name] = pc.or_(found[name], mask) if name in found else mask
    return found


def to_pandas(table: pa.Table, *, numbers: bool = False) -> Any:
    """The pandas frame on which Great Expectations, in memory, gives Millrace's verdict on these typed rows.

    Integers are pandas' Int8 … Int64 and booleans its boolean, whether or not any is missing; floats are float64,
    text is object, times are datetime64[ns]. Expectations on pairs and several columns and on z-scores take `numbers`:
    integers and booleans with missing values as float64 and object, as pandas reads them by default, because Great
    Expectations raises there on pandas' own missing values.
    """
    import pandas as pd

    frame = {}
    for name, column in zip(table.schema.names, prepare_table(table).columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind):
            frame[name] = column.cast(pa.timestamp("ns")).to_pandas()
        elif pa.types.is_string(kind):
            frame[name] = pd.Series(column.to_pylist(), dtype=object)
        elif numbers or pa.types.is_floating(kind):
            frame[name] = column.to_pandas()
        else:
            dtype = "boolean" if pa.types.is_boolean(kind) else str(kind).title()
            frame[name] = pd.Series(pd.array(column.to_pylist(), dtype=dtype))
    return pd.DataFrame(frame)


def prepare_table(table: pa.Table) -> pa.Table:
    """`prepare` for a whole table."""
    batches = table.combine_chunks().to_batches() or [no_rows(table.schema)]
    return pa.Table.from_batches([prepare(batch) for batch in batches])


def _key(expectation: Expectation) -> str:
    """The same for expectations that read the same rows of the same columns."""
    arguments = expectation.arguments
    columns = columns_of(expectation)
    ignore = arguments.get("ignore_row_if") if len(columns) > 1 else None
    return json.dumps([columns, arguments.get("row_condition"), ignore])


def _stream(figures: Figures, runs: Sequence[Run]) -> Callable[[], Iterator[pa.Table]]:
    own = figures.counts.table
    if not runs:
        return lambda: iter([own])
    return lambda: merge_runs([blocks(own), *(run() for run in runs)], figures.kind)


def _bounds(figures: Figures) -> pa.Table:
    return pa.table({"bounds": pa.array([figures.low, figures.high], figures.kind)})


def _pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _unpack(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
