"""Law: any sequence of commits equals a dictionary of intervals, in every version."""

import tempfile

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.storage.commits import EVERYTHING
from millrace.storage.tables import Commit, Table

INTERVALS = ["2026-01-05", "2026-01-06", "2026-01-07"]
rows = st.dictionaries(st.sampled_from(INTERVALS), st.lists(st.integers(0, 99), max_size=3), max_size=3)
steps = st.lists(
    st.tuples(
        st.integers(0, 5),  # the transaction: some come twice
        st.sampled_from(["add", "replace", "everything"]),
        rows,
        st.sets(st.sampled_from(INTERVALS)),
    ),
    max_size=5,
)


def content(table: pa.Table) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in table.to_pylist():
        found.setdefault(row["data_interval"], []).append(row["x"])
    return {interval: sorted(values) for interval, values in found.items()}


@settings(max_examples=25, deadline=None)
@given(steps)
def test_commits_equal_a_dictionary_of_intervals(write, schema, steps):
    with tempfile.TemporaryDirectory() as folder:
        table = Table(f"{folder}/t")
        versions: list[dict[str, list[int]]] = []
        done: dict[int, int] = {}
        for transaction, kind, rows, extra in steps:
            parts = [write(table.uri, interval, values) for interval, values in rows.items()]
            replaced = {"add": (), "replace": {*rows, *extra}, "everything": EVERYTHING}[kind]
            version = table.commit(Commit(parts, schema, str(transaction), replace=replaced))
            assert version == done.setdefault(transaction, len(versions))
            if version == len(versions):
                kept = {} if kind == "everything" else dict(versions[-1]) if versions else {}
                for interval in replaced if kind == "replace" else ():
                    kept.pop(interval, None)
                for interval, values in rows.items():
                    kept[interval] = sorted(kept.get(interval, []) + values)
                versions.append({interval: values for interval, values in kept.items() if values})
        assert [content(table.read(version)) for version in range(len(versions))] == versions
