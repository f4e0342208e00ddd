"""What a report shows of the data: counts by interval, reasons, distributions and the sample, from small states.

Rows are read in three places only, in batches and a few columns of them: the quarantine table, the sample, and the
scores of the run's own interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np
import pyarrow as pa

from millrace import intervals
from millrace.data.check_verdict import Verdict
from millrace.data.drift import drift_columns, split_window
from millrace.data.holdout import Holdout
from millrace.data.sample import WEIGHT, SamplePlan
from millrace.data.states import ColumnState
from millrace.data.stats import Stats
from millrace.report.distributions import Distribution, SampleCounts, distribution, shown
from millrace.report.facts import Change, ColumnFacts, Night, Reason, Role, SampleFacts, ScoringFacts
from millrace.report.words import number
from millrace.spec import ROW_TABLES, Pipeline
from millrace.stages.choose import read_statistics, usable
from millrace.stages.context import Run
from millrace.stages.ingest import raw_statistics
from millrace.stages.report_tables import has_rows, own_record
from millrace.stages.scoring import scored_table
from millrace.storage.commits import CommitRecord

SCORE_BINS = 50  # as many as the holdout's scores are counted in: equal bins of [0, 1]
CLEAN = ("clean", "quarantine", "sharded", "scores")


def nights(run: Run, verdicts: Mapping[str, Verdict], rates: Mapping[str, float]) -> list[Night]:
    """Rows of each interval of the window that was read, and of those whose time nobody knows."""
    names = [*run.window(), intervals.UNKNOWN]
    read: dict[str, dict[str, int]] = {}
    if has_rows(run, "check"):
        columns = ["data_interval", "rows", "unreadable"]
        rows = run.table("check").read(run.version("check"), columns=columns, intervals=names)
        read = {row["data_interval"]: row for row in rows.to_pylist()}
    sizes = {name: run.table(name).intervals(run.version(name)) if has_rows(run, name) else None for name in CLEAN}
    record = sample_record(run)
    other = _other_table(run)
    sampled = run.table("sample").intervals(record.version) if record else None
    holdout = Holdout.model_validate(record.details["holdout"]) if record else None

    def size(table: str, name: str) -> int | None:
        known = sizes[table]
        return None if known is None else known.get(name, 0)

    found = []
    for name in names:
        if name not in read and not any(size(table, name) for table in CLEAN):
            continue
        mine = read.get(name)
        found.append(
            Night(
                interval=name,
                read=mine["rows"] + mine["unreadable"] if mine else None,
                unreadable=mine["unreadable"] if mine else None,
                clean=size("clean", name),
                quarantined=size("quarantine", name),
                sharded=size("sharded", name),
                sampled=None if sampled is None else sampled.get(name, 0),
                scored=None if other else size("scores", name),
                role=_role(name, holdout),
                label_rate=rates.get(name),
                failed=name in verdicts and bool(verdicts[name].unmet("fail")),
            )
        )
    return found


def _role(name: str, holdout: Holdout | None) -> Role:
    if holdout is None:
        return "not used"
    if holdout.by_row and name in holdout.training:
        return "teaches and judges"
    if name in holdout.training:
        return "teaches"
    if name in holdout.holdout:
        return "judges"
    return "waits" if holdout.holdout and name > holdout.holdout[-1] and name != intervals.UNKNOWN else "not used"


def statistics(run: Run) -> dict[str, Stats]:
    """The statistics of the clean rows of each interval of the window; nothing where there are none yet."""
    return read_statistics(run) if has_rows(run, "stats") and usable(run, "stats") else {}


def label_rates(known: Mapping[str, Stats]) -> dict[str, float]:
    """The share of the label's greater value by interval, where it has two."""
    classes = {key for stats in known.values() if stats.classes for key in stats.rows_by_class if key is not None}
    if len(classes) != 2:
        return {}
    positive = max(classes, key=lambda text: (_as_number(text), text))
    rates = {}
    for name, stats in known.items():
        labelled = sum(rows for key, rows in stats.rows_by_class.items() if key is not None)
        if labelled:
            rates[name] = stats.rows_by_class.get(positive, 0) / labelled
    return rates


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def reasons(run: Run) -> list[Reason]:
    """Quarantined rows of the window by column and rule, each with an example."""
    if not has_rows(run, "quarantine"):
        return []
    names = [*run.window(), intervals.UNKNOWN]
    columns = ["column", "rule", "reason", "value"]
    counted: dict[tuple[str | None, str], list[int | str | None]] = {}
    for batch in run.table("quarantine").batches(run.version("quarantine"), columns=columns, intervals=names):
        grouped = (
            pa.table(batch)
            .group_by(["column", "rule"])
            .aggregate([([], "count_all"), ("reason", "min"), ("value", "min")])
        )
        for row in grouped.to_pylist():
            entry = counted.setdefault((row["column"], row["rule"]), [0, row["reason_min"], row["value_min"]])
            entry[0] = int(entry[0] or 0) + row["count_all"]
    return [
        Reason(column, rule, int(rows or 0), _text(expected), _text(value))
        for (column, rule), (rows, expected, value) in counted.items()
    ]


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value) if len(str(value)) <= 120 else f"{str(value)[:119]}…"


def changes(run: Run) -> list[Change]:
    """Cells that the run's cleaning changed, by column and rule."""
    record = own_record(run, "clean")
    found = record.details.get("changes", {}) if record else {}
    return [Change(column, rule, cells) for column, rules in found.items() for rule, cells in rules.items() if cells]


def column_facts(run: Run, known: Mapping[str, Stats]) -> list[ColumnFacts]:
    """Every column of the window, before and after cleaning."""
    raw = raw_statistics(run)[0] if has_rows(run, "check") else None
    clean = Stats.merged(known.values()) if known else None
    found = []
    for name, column in run.pipeline.columns.items():
        before = raw.columns.get(name) if raw else None
        after = clean.columns.get(name) if clean else None
        best = after or before
        if best is None:
            continue
        facts = best.to_dict(top=0)
        ends = [facts["min"], facts.get("quantiles", {}).get("0.5"), facts["max"]]
        if best.kind == "time":
            ends = [None if each is None else str(each).replace("T", " ")[:16] for each in ends]
        found.append(
            ColumnFacts(
                column=name,
                kind=column.type,
                role=column.role if after or clean is None else f"{column.role}, dropped",
                raw_missing=_missing(before.state) if before else None,
                clean_missing=_missing(after.state) if after else None,
                distinct=best.distinct(),
                least=_figure(ends[0]),
                middle=_figure(ends[1]),
                greatest=_figure(ends[2]),
            )
        )
    return found


def _missing(state: ColumnState) -> float:
    return (state.nulls + state.nans + state.infinities) / state.count if state.count else 0.0


def _figure(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shown(value)
    return f"{value:,}" if isinstance(value, int) else number(value)


def distributions(run: Run, known: Mapping[str, Stats]) -> list[Distribution]:
    """Each column that drift is looked for in: the recent half of the window beside the half before."""
    reference, recent = split_window(list(known), run.kind, run.pipeline.drift)
    if not recent:
        reference, recent = recent, reference
    halves = {
        side: Stats.merged(known[name] for name in names)
        for side, names in (("before", reference), ("recent", recent))
        if names
    }
    kept = [
        name for name in drift_columns(run.pipeline) if halves and all(name in half.columns for half in halves.values())
    ]
    return [
        distribution(
            name, {side: half.columns[name].state for side, half in halves.items()}, codes=codes(run.pipeline, name)
        )
        for name in kept
    ]


def codes(pipeline: Pipeline, name: str) -> bool:
    """Whether a column's numbers are names, not amounts."""
    return pipeline.columns[name].role != "numeric"


def sample_record(run: Run) -> CommitRecord | None:
    """The commit that drew the sample of a pinned run; None where none did."""
    version = run.upstream.get("sample")
    return None if version is None else run.table("sample").record(version)


def sample_facts(run: Run, known: Mapping[str, Stats]) -> SampleFacts | None:
    """How the sample was drawn, and its distributions as drawn and weighted beside the population's."""
    record = sample_record(run)
    if record is None:
        return None
    plan = SamplePlan.model_validate(record.details["sample"])
    holdout = Holdout.model_validate(record.details["holdout"])
    return SampleFacts(
        plan=plan,
        rows=record.ledger.rows_out,
        training=holdout.training,
        holdout=_holdout_words(holdout),
        distributions=_sample_distributions(run, record.version, holdout, known),
    )


def _other_table(run: Run) -> str | None:
    """The table of other origin whose scores there are, None where they are those of the pipeline's own rows."""
    name = scored_table(run.table("scores"), run.version("scores")) if has_rows(run, "scores") else None
    return None if name in ROW_TABLES else name


def scoring_facts(run: Run) -> ScoringFacts | None:
    """What the champion made of the run's interval: its scores are read once, that one column."""
    if not has_rows(run, "scores"):
        return None
    table, version = run.table("scores"), run.version("scores")
    if (other := _other_table(run)) is not None:
        everything = sum(table.intervals(version).values())
        model = table.details(version)["model_version"]
        return ScoringFacts(rows=everything, mean=0.0, models=[model], bins=[], where=table.uri, other=other)
    rows, total, models = 0, 0.0, set()
    bins = np.zeros(SCORE_BINS, np.int64)
    for batch in table.batches(version, columns=["score", "model_version"], intervals=[run.date]):
        scores = np.asarray(batch.column("score"), np.float64)
        rows, total = rows + len(scores), total + float(scores.sum())
        bins += np.histogram(scores, bins=SCORE_BINS, range=(0, 1))[0]
        models |= set(batch.column("model_version").unique().to_pylist())
    if not rows:
        return None
    return ScoringFacts(rows=rows, mean=total / rows, models=sorted(models), bins=bins.tolist(), where=table.uri)


def _holdout_words(holdout: Holdout) -> str:
    if holdout.files is not None:
        return f"the files like {holdout.files}"
    if holdout.fraction is not None:
        return f"{holdout.fraction:.0%} of the rows, drawn by hash,"
    first, last = holdout.holdout[0], holdout.holdout[-1]
    return f"{first} alone" if first == last else f"{first} to {last} ({len(holdout.holdout)} intervals)"


def _sample_distributions(run: Run, version: int, holdout: Holdout, known: Mapping[str, Stats]) -> list[Distribution]:
    """Over the columns that the model may see and the label."""
    taught = [known[name] for name in holdout.training if name in known]
    if not taught:
        return []
    population = Stats.merged(taught)
    table = run.table("sample")
    stored = set(table.schema(version).names)
    counts = [
        SampleCounts(name, _labelled(population, name), codes(run.pipeline, name))
        for name in drift_columns(run.pipeline)
        if name in population.columns and name in stored
    ]
    for batch in table.batches(version, columns=[*(each.column for each in counts), WEIGHT]):
        weights = np.asarray(batch.column(WEIGHT).fill_null(0.0).to_numpy(zero_copy_only=False), np.float64)
        for each in counts:
            each.update(batch.column(each.column), weights)
    return [each.result() for each in counts]


def _labelled(stats: Stats, name: str) -> ColumnState:
    """A column's state over the rows with a label, where rows are told apart by it: only those can teach."""
    column = stats.columns[name]
    known: Iterable[ColumnState] = [state for key, state in column.by_class.items() if key is not None]
    return reduce(ColumnState.merge, known) if stats.classes and known else column.state
