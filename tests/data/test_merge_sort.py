"""A shard of any size: sorted run by run and merged, it is what it would be sorted at once."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.data import merge_sort
from millrace.data.merge_sort import ordered
from millrace.data.shard import complete_rows, sort_and_deduplicate
from millrace.spec import Pipeline

SCHEMA = pa.schema(
    [
        ("user", pa.string()),
        ("t", pa.timestamp("us")),
        ("n", pa.float64()),
        ("row_id", pa.int64()),
        ("source_file", pa.string()),
    ]
)
ROWS = st.tuples(
    st.sampled_from([None, "", "a", "b", "é"]),
    st.none() | st.integers(0, 2),
    st.sampled_from([None, -0.0, 0.0, 1.0, math.nan]),
    st.sampled_from(["x.csv", "y.csv"]),
)


def pipeline(deduplicate: dict[str, Any] | None) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "time": "t"},
            "columns": {
                "user": {"type": "string", "role": "key"},
                "t": {"type": "timestamp", "role": "time"},
                "n": {"type": "float64", "role": "numeric"},
            },
            "shard": {"by": "user", "deduplicate": deduplicate},
        }
    )


def batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows whose row_id tells less than the row, as two rows may have one."""
    cells = [(user, t, n, int(n == 1), file) for user, t, n, file in rows]
    columns = zip(*cells, strict=True) if cells else [[] for _ in SCHEMA]
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA
    )


def encoded(rows: pa.RecordBatch, names: set[str]) -> pa.RecordBatch:
    """The rows with some columns dictionary-encoded."""
    columns = [
        column.dictionary_encode() if name in names else column
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, rows.schema.names)


@pytest.mark.parametrize(
    "deduplicate",
    [
        None,
        {},
        {"by": ["user"]},
        {"by": ["user"], "keep": "last", "order": "n"},
        {"by": ["user", "n"], "keep": "last"},
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    batches=st.lists(st.lists(ROWS, max_size=12), min_size=1, max_size=8),
    coded=st.lists(st.sets(st.sampled_from(["user", "source_file"])), min_size=8, max_size=8),
    held=st.integers(1, 2_000),
)
def test_any_number_of_runs_gives_the_same_table(
    deduplicate: dict[str, Any] | None,
    batches: list[list[tuple[Any, ...]]],
    coded: list[set[str]],
    held: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge_sort, "SCRATCH_ROWS", 2)
    spec = pipeline(deduplicate)
    given_rows = [batch(rows) for rows in batches]
    pieces = list(ordered([*map(encoded, given_rows, coded)], spec, held=held))
    assert len({table.schema for table, _ in pieces}) == 1
    found = pa.concat_tables([SCHEMA.empty_table(), *(table.cast(SCHEMA) for table, _ in pieces)])
    expected, duplicates = sort_and_deduplicate(pa.Table.from_batches(given_rows), spec)
    assert found.equals(expected) or repr(found.to_pylist()) == repr(expected.to_pylist())  # NaN isn't equal to itself
    assert sum(merged for _, merged in pieces) == duplicates


def test_more_rows_than_are_held_come_in_pieces_and_leave_no_file(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(merge_sort, "SCRATCH_ROWS", 100)
    rows = [batch([(f"{number * 7919 % 50_000:05d}", 0, 0, "x.csv")]) for number in range(20_000)]
    batches = [pa.Table.from_batches(rows[start::10]).combine_chunks().to_batches()[0] for start in range(10)]
    held = sum(each.nbytes for each in batches) // 5
    pieces = []
    for table, merged in ordered(batches, pipeline({}), held=held):
        assert table.nbytes < 2 * held
        assert merged == 0
        pieces.append(table)
    users = pa.concat_tables(pieces)["user"].to_pylist()
    assert users == sorted(f"{number * 7919 % 50_000:05d}" for number in range(20_000))
    assert len(pieces) > 1
    assert not list(tmp_path.iterdir())


def test_rows_without_a_key_are_not_held_together(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(merge_sort, "SCRATCH_ROWS", 100)
    batches = [batch([(None, 1000 * run + n, 0.0, "x.csv") for n in range(1000)]) for run in range(10)]
    held = 2 * batches[0].nbytes
    pieces = [table for table, _ in ordered(batches, pipeline({"by": ["user"]}), held=held)]
    assert sum(table.num_rows for table in pieces) == 10_000
    assert max(table.nbytes for table in pieces) < 2 * held


def test_runs_that_follow_one_another_are_not_sorted_again_and_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(merge_sort, "SCRATCH_ROWS", 100)
    seen: list[int] = []

    def counted(table: pa.Table, *rest: Any) -> Any:
        seen.append(table.num_rows)
        return complete_rows(table, *rest)

    monkeypatch.setattr(merge_sort, "complete_rows", counted)
    batches = [batch([(f"{1000 * run + n:06d}", 0, 0.0, "x.csv") for n in range(1000)]) for run in range(30)]
    pieces = [table for table, _ in ordered(batches, pipeline({}), held=2 * batches[0].nbytes)]
    assert sum(table.num_rows for table in pieces) == 30_000
    assert sum(seen) < 5 * 30_000
