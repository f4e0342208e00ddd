"""The stages that choose what teaches: statistics in; a drift verdict, then the training sample with weights, out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from millrace import intervals
from millrace.buffers import text_array
from millrace.data.drift import RUNS_PER_YEAR, DriftVerdict, compare, drift_columns, split_window
from millrace.data.hashing import seed_of
from millrace.data.holdout import Holdout, plan_holdout
from millrace.data.population import Population
from millrace.data.sample import SamplePlan, plan_sample
from millrace.data.sample_choice import Choice, choose_method, cluster_key, time_column
from millrace.data.stats import Stats, from_table, outlines_from_table
from millrace.errors import GateClosed, RequestError
from millrace.spec import Pipeline, Sample
from millrace.stages.context import Run, StageResult, digest
from millrace.stages.layout import stats_tokens
from millrace.stages.rows import base, commit_rows, conserved, rows_of
from millrace.storage.commits import EVERYTHING, Commit
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part
from millrace.storage.tables import Table

ANY_NUMBER = 10**15  # of rows: so many that the choice doesn't depend on it
OUTLINES = ("data_interval", "column", "label", "outline")
DRIFT = pa.schema([pa.field("data_interval", pa.string()), pa.field("verdict", pa.string())])


def usable(run: Run, name: str) -> dict[str, str]:
    """The tokens of the window's intervals whose rows a table holds, oldest first; of all where there is no time."""
    table, version = run.table(name), run.version(name)
    if version is None:
        return {}
    tokens, rows = table.details(version).get("tokens", {}), table.intervals(version)
    return {each: tokens[each] for each in run.window() if each in tokens and rows.get(each)}


def measured(run: Run) -> dict[str, str]:
    """The tokens of the window's intervals that have statistics. Raises GateClosed where none has."""
    names = usable(run, "stats")
    if not names:
        window, known = run.window(), run.tokens("stats")
        raise GateClosed(
            "no statistics in the window",
            expected=f"rows of {window[0]} to {window[-1]}",
            found=f"none; the newest are of {max(known)}" if known else "none at all",
            hint=f"give another date, or first run: millrace run {run.pipeline.name} --until stats",
        )
    return names


def read_statistics(run: Run, columns: Sequence[str] | None = None) -> dict[str, Stats]:
    """The statistics of each usable interval of the window, of all columns or these."""
    rows = run.table("stats").read(run.version("stats"), intervals=measured(run))
    if columns is not None:
        rows = rows.filter(pc.is_in(rows.column("column"), text_array(columns)))
    return from_table(rows)


def read_outlines(run: Run, columns: Sequence[str], names: Collection[str]) -> dict[str, Stats]:
    """What drift compares, by interval: outlines, a small part of the bytes of the statistics.

    The statistics themselves where there are no columns, or not outlines of all: those of an interval were taken by an
    older version of Millrace, or `drift.columns` names a key.
    """
    table, version = run.table("stats"), run.version("stats")
    if columns and "outline" in table.schema(version).names:
        found = outlines_from_table(table.read(version, OUTLINES, intervals=names))
        if all(each.kinds.keys() >= set(columns) for each in found.values()):
            return found
    return read_statistics(run)


def drift(run: Run) -> StageResult:
    """Compare the recent half of the window with the half before it, from statistics alone."""
    pipeline, table = run.pipeline, run.table("drift")
    before = base(table)
    known = measured(run)
    token = digest(known, pipeline.drift)
    version = before if run.tokens("drift").get(run.date) == token else None
    if version is None:
        columns = pipeline.drift.columns or drift_columns(pipeline)
        found = read_outlines(run, columns, known)
        reference, recent = split_window(list(found), run.kind, pipeline.drift)
        verdict = compare(
            [found[name] for name in reference],
            [found[name] for name in recent],
            pipeline.drift,
            columns=columns,
            runs_per_year=RUNS_PER_YEAR.get(run.kind, 1.0),
        )
        rows = pa.Table.from_arrays([text_array([run.date]), text_array([verdict.model_dump_json()])], schema=DRIFT)
        transaction = run.transaction("drift", token, before)
        version = commit_rows(run, "drift", rows, transaction, token)
    verdict = read_drift(run, version)
    shifted = [column.column for column in verdict.columns if column.drifted]
    run.say(f"drift: {verdict.words}: {verdict.reason}")
    return StageResult(
        stage="drift",
        table=table.uri,
        version=version,
        details={"words": f"{verdict.words}: {verdict.reason}", "drifted": shifted, "shift": verdict.shift},
    )


def read_drift(run: Run, version: int | None) -> DriftVerdict:
    """The drift verdict of the run's interval."""
    rows = run.table("drift").read(version, intervals=[run.date]).to_pylist()
    if not rows:
        raise GateClosed(f"{run.date} has no drift verdict", hint=f"millrace run {run.pipeline.name} --from drift")
    return DriftVerdict.model_validate_json(rows[-1]["verdict"])


def sample(run: Run) -> StageResult:
    """Draw the training sample from the window without its holdout; the rows' weights undo the drawing."""
    from mrjobs.sample import SampleRows, sample_schema

    pipeline, table = asked(run), run.table("sample")
    if pipeline.label is None:
        raise GateClosed(
            "nothing to predict, so nothing to sample for", expected="a column with role label", found="none"
        )
    known = usable(run, "sharded")
    holdout = plan_holdout(pipeline, list(known), pipeline.train.label_delay)
    version = run.version("sharded")
    if version is None:
        raise GateClosed("no sharded table to sample from", hint=f"millrace run {pipeline.name} --until shard")
    verdict = read_drift(run, run.version("drift")) if run.kind != "none" else None
    splits = run.part_splits("sharded", version, holdout.training)
    used = {name: known[name] for name in holdout.training}
    transaction = run.transaction("sample", used, pipeline.sample, pipeline.shard, verdict, holdout, forced(run, table))
    committed = table.committed(transaction)
    if committed is not None and not table.whole(committed):  # a vacuum took it: it is drawn again
        transaction, committed = f"{transaction}/{base(table)}", None
    if committed is None:
        plan = plan_of(run, pipeline, holdout, verdict)
        run.say(f"sample: {plan.method}{f' by {plan.by}' if plan.by else ''}: {'; '.join(plan.why)}")
        with run.shuffle_folder() as shuffle:
            params = {"sample": plan.model_dump(mode="json"), "holdout": holdout.model_dump(mode="json")}
            pairs = run.run_job(SampleRows, run.job_plan(table.uri, shuffle=shuffle, **params), splits)
        ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
        conserved("sample", rows_of(run, "sharded", version, holdout.training), ledger)
        committed = table.commit(
            Commit(
                parts=[Part.model_validate(value["part"]) for _, value in pairs if value["part"]],
                schema=sample_schema(pipeline),
                transaction=transaction,
                replace=EVERYTHING,
                ledger=ledger,
                inputs={"sharded": version},
                details={**params, "date": run.date},
            )
        )
    record = table.record(committed)
    ledger, plan = record.ledger, SamplePlan.model_validate(record.details["sample"])
    words = f"{plan.method}{f' by {plan.by}' if plan.by else ''}: {'; '.join(plan.why)}"
    return StageResult(
        stage="sample",
        table=table.uri,
        version=committed,
        ledger=ledger,
        details={"words": words, "method": plan.method, "by": plan.by, "rows": ledger.rows_out},
    )


def sample_version(run: Run) -> int:
    """The version of the sample that this run reads: as told, else the newest that was drawn for its interval.

    Raises GateClosed where none was.
    """
    told, table = run.upstream.get("sample"), run.table("sample")
    if told is not None:
        return told
    records = table.records() if table.exists() else iter(())
    found = next((record.version for record in records if record.details.get("date") == run.date), None)
    if found is None:
        hint = f"millrace run {run.pipeline.name} --date {run.date} --from sample"
        raise GateClosed(f"no sample was drawn for {run.date}", hint=hint)
    return found


def forced(run: Run, table: Table) -> int | None:
    """With `force`, a transaction of its own per table version, so that the sample is drawn again."""
    return table.version() if run.options.force and table.exists() else None


def asked(run: Run) -> Pipeline:
    """The pipeline with the sample that this run's form asks for."""
    options, section = run.options, run.pipeline.sample.model_dump()
    if options.sample_method:
        section["method"] = options.sample_method
    if options.sample_rows:
        section.update(rows=options.sample_rows, fraction=None)
    wanted, pipeline = Sample.model_validate(section), run.pipeline
    lacking = {"cluster": wanted.by or cluster_key(pipeline), "recent": time_column(pipeline)}
    if lacking.get(wanted.method, "") is None:
        what = "sample.by, a shard key or a column with role key" if wanted.method == "cluster" else "a time column"
        raise RequestError(f"no sample by method {wanted.method}", expected=what, found="none")
    return pipeline.model_copy(update={"sample": wanted})


def plan_of(run: Run, pipeline: Pipeline, holdout: Holdout, verdict: DriftVerdict | None) -> SamplePlan:
    """The plan from exact counts of the rows that may teach, by stratum."""
    drifted = None if verdict is None else [column.column for column in verdict.columns if column.drifted]
    distinct: dict[str, float] = {}
    if drifted and pipeline.sample.method == "auto":  # nothing else asks how many values a column has
        stats = Stats.merged(read_statistics(run, drifted).values())
        distinct = {name: float(stats.columns[name].distinct()) for name in drifted if name in stats.columns}

    def choose(rows: int, rate: float | None) -> Choice:
        return choose_method(pipeline, rows, drifted, distinct, rate)

    expected = choose(ANY_NUMBER, None)
    population = count_population(run, holdout, expected)
    choice = choose(population.rows, population.label_rate())
    if _strata_column(choice) not in (None, _strata_column(expected)):
        population = count_population(run, holdout, choice)
    seed = seed_of(pipeline.name, "sample", run.date)
    end = intervals.interval_start(intervals.previous(holdout.training[-1], run.kind, -1), run.kind)
    return plan_sample(choice, population, seed, end)


def _strata_column(choice: Choice) -> str | None:
    return choice.by if choice.method == "stratified" else None


def count_population(run: Run, holdout: Holdout, choice: Choice) -> Population:
    """Rows that may teach, by stratum, label and day: as the statistics say where they suffice, else by a job.

    Raises GateClosed where there are none.
    """
    by = _strata_column(choice)
    if choice.method != "recent" and by in (None, run.pipeline.label):
        known = measured_population(run, holdout, by)
        if known is not None and known.rows:
            return known
    return count_by_job(run, holdout, by)


def count_by_job(run: Run, holdout: Holdout, by: str | None) -> Population:
    """Rows that may teach, by stratum, label and day. Raises GateClosed where there are none."""
    from mrjobs.sample import CountPopulation

    version = run.version("sharded")
    assert version is not None, "its tokens were read"
    job = run.job_plan(run.table("sample").uri, by=by, holdout=holdout.model_dump(mode="json"))
    pairs = run.run_job(CountPopulation, job, run.part_splits("sharded", version, holdout.training))
    if not pairs:
        raise GateClosed("no labelled row to train on", expected=f"rows in {', '.join(holdout.training)}", found="none")
    return Population.from_json(pairs[0][1])


def measured_population(run: Run, holdout: Holdout, by: str | None) -> Population | None:
    """Rows by label, from the statistics; `by` is None or the label.

    None where they don't tell: they are of other rows, the label has too many values, or single rows are held out.
    """
    label, fresh, kept = run.pipeline.label, stats_tokens(run), run.tokens("stats")
    if label is None or holdout.by_row or any(fresh.get(name) != kept.get(name) for name in holdout.training):
        return None
    columns = ["column", "label_class", "classes", "rows"]
    population = Population(by, label)
    for row in run.table("stats").read(run.version("stats"), columns, intervals=holdout.training).to_pylist():
        if not row["classes"]:
            return None
        if row["column"] == label and row["label_class"] is not None:
            population.cells[None if by is None else row["label_class"], row["label_class"], None] += row["rows"]
    return population
