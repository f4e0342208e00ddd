"""Small results that the driver itself commits: rows of one or several intervals, one part an interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import scalar
from millrace.stages.context import Run
from millrace.storage.commits import EVERYTHING, Commit
from millrace.storage.ledger import Ledger
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Table


def commit_intervals(
    run: Run,
    name: str,
    rows: pa.Table,
    *,
    transaction: str,
    tokens: Mapping[str, str],
    replace: Sequence[str] | None,
) -> int:
    """Commit the rows in place of those of the intervals of `replace` (None: of all), with the intervals' tokens."""
    table = run.table(name)
    parts = []
    for interval in sorted(pc.unique(rows.column("data_interval")).to_pylist()):
        with PartWriter(table.uri, {"data_interval": interval}, rows.schema, name) as writer:
            writer.write(rows.filter(pc.equal(rows.column("data_interval"), scalar(interval))))
            parts.append(writer.close())
    return table.commit(
        Commit(
            parts=parts,
            schema=rows.schema,
            transaction=transaction,
            replace=EVERYTHING if replace is None else list(replace),
            inputs=dict(run.upstream),
            tokens=tokens,
        )
    )


def commit_rows(run: Run, name: str, rows: pa.Table, transaction: str, token: str) -> int:
    """Commit the rows of the run's own interval in place of those of an earlier run."""
    return commit_intervals(run, name, rows, transaction=transaction, tokens={run.date: token}, replace=[run.date])


def base(table: Table) -> int | None:
    """The version that a stage starts from, part of its transaction: done, undone and done again are three.

    To be taken before the stage looks at what there is to do, so that all attempts at the same work agree on it.
    """
    return table.newest()


def conserved(stage: str, rows: int, ledger: Ledger) -> None:
    """Raise LedgerError unless the rows that a stage counted are those `rows` that its input table holds."""
    if ledger.rows_in != rows:
        Ledger(rows_in=rows, rows_out=ledger.rows_in).check(f"{stage} (its input table against the rows it read)")


def rows_of(run: Run, name: str, version: int, intervals: Collection[str]) -> int:
    """The rows of these intervals in a version of a stage's table."""
    return sum(part.rows for part in run.table(name).parts(version, intervals))
