"""Small results that the driver itself commits: rows of one or several intervals, one part an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.stages.context import Run
from millrace.storage.commits import EVERYTHING, Commit
from millrace.storage.parts import PartWriter


def commit_intervals(
    run: Run,
    name: str,
    rows: pa.Table,
    *,
    transaction: str,
    replace: Sequence[str] | None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Commit the rows in place of those of the intervals of `replace` (None: of all)."""
    table = run.table(name)
    parts = []
    for interval in sorted(pc.unique(rows.column("data_interval")).to_pylist()):
        with PartWriter(table.uri, {"data_interval": interval}, rows.schema, name, table.storage_options) as writer:
            writer.write(rows.filter(pc.equal(rows.column("data_interval"), interval)))
            parts.append(writer.close())
    return table.commit(
        Commit(
            parts=parts,
            schema=rows.schema,
            transaction=transaction,
            replace=EVERYTHING if replace is None else list(replace),
            inputs=dict(run.upstream),
            details=dict(details or {}),
        )
    )


def commit_rows(run: Run, name: str, rows: pa.Table, transaction: str, details: Mapping[str, Any] | None = None) -> int:
    """Commit the rows of the run's own interval in place of those of an earlier run."""
    return commit_intervals(run, name, rows, transaction=transaction, replace=[run.date], details=details)
