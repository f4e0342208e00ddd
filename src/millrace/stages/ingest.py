"""The stages that every row goes through: check, clean, shard and stats, each for the intervals that are stale.

Raw files in; `check` (verdict, raw statistics and what cleaning learns from), `clean`, `quarantine`, `sharded` and
`stats` tables out. Where the files' names hold no date, a change of any file makes all intervals stale.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from millrace import intervals
from millrace.data.check_verdict import Verdict
from millrace.data.clean import clean_schema
from millrace.data.clean_groups import GroupFills
from millrace.data.clean_plan import CleanPlan, needs_statistics, plan_clean
from millrace.data.clean_rejects import QUARANTINE
from millrace.data.stats import Stats
from millrace.errors import GateClosed, InputError, without_credentials
from millrace.mapreduce.splits import plan_splits
from millrace.stages.context import Run, StageResult, digest, stale, within
from millrace.stages.refused import Refusals, plan_readable, refused_by_tasks, tell_refused
from millrace.stages.rows import base, commit_intervals, conserved
from millrace.storage.commits import Commit
from millrace.storage.files import SourceFile, list_files
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part

EVERY = "*"  # the token name of sources whose files hold no date: all files together
CHECKED = pa.schema(
    [
        pa.field("data_interval", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("unreadable", pa.int64()),
        pa.field("verdict", pa.string()),
        pa.field("stats", pa.binary()),
        pa.field("fills", pa.binary()),
        pa.field("cuts", pa.string()),
    ]
)


def source_files(run: Run) -> dict[str, list[SourceFile]]:
    """The source files by interval (by ``*`` where their names hold no date), those after the run's date left out."""
    source = run.pipeline.source
    files = list_files(source.uri)
    if source.file_date is None or source.interval == "none":
        return {EVERY: files}
    found: dict[str, list[SourceFile]] = {}
    for file in files:
        name = intervals.file_interval(file.path, source.file_date, source.interval)
        if name is None:
            raise InputError(
                "no date in a file's name",
                expected=f"a date like {source.file_date} (source.file_date)",
                found=file.path,
                hint="rename the file, leave it out of source.uri, or change source.file_date",
            )
        found.setdefault(name, []).append(file)
    wanted = set(run.window()) if run.date else set(found)
    return {name: found[name] for name in sorted(found) if name in wanted}


def newest_interval(run: Run) -> str:
    """The newest interval that the names of the source files show; else of the checked rows; else of today."""
    if run.pipeline.source.interval == "none":
        return intervals.ALL
    files = source_files(run)
    if EVERY not in files:
        return intervals.newest(files, run.kind)
    tokens = run.tokens("check")
    if tokens.pop(EVERY, None) == _check_tokens(run)[0][EVERY] and tokens:
        return intervals.newest(tokens, run.kind)
    return _newest_in_rows(run)


def _newest_in_rows(run: Run) -> str:
    """The newest interval in the rows of the newest files, read once: for a first run without a date."""
    from millrace.data.convert import convert
    from millrace.data.raw import read_split
    from millrace.data.row_intervals import name_intervals
    from millrace.storage.files import open_input

    time = str(run.pipeline.source.time)
    names: set[str] = set()
    for split in plan_splits(list_files(run.pipeline.source.uri), run.pipeline):
        for raw in read_split(split, run.pipeline, open_input, columns=[time], typed=True):
            typed = convert(raw.batch, run.pipeline, trimmed=raw.trimmed).batch
            names.update(name_intervals(typed.column(time), run.kind).unique().to_pylist())
    if not names - {intervals.UNKNOWN}:
        return intervals.interval_name(datetime(1970, 1, 1), run.kind)
    return intervals.newest(names, run.kind)


def _check_tokens(run: Run) -> tuple[dict[str, str], dict[str, list[SourceFile]]]:
    pipeline = run.pipeline
    source = pipeline.source.model_copy(update={"uri": ""})  # which files they are, their fingerprints say
    shape = digest(source, pipeline.columns, pipeline.check, pipeline.clean, CHECKED.names)
    files = source_files(run)
    return {name: digest([file.fingerprint for file in each], shape) for name, each in files.items()}, files


def check(run: Run) -> StageResult:
    """Judge the raw rows of every stale interval; raise CheckFailed where the run's own interval fails.

    One scan gives the verdict, the statistics of the raw rows and what cleaning learns from. An older interval of the
    window that fails, or has a file that can't be the pipeline's, is told and left out by the stages that follow.
    """
    from mrjobs.check import REFUSED, Check

    table, pipeline = run.table("check"), run.pipeline
    before = base(table)
    tokens, files = _check_tokens(run)
    kept = run.tokens("check")
    todo = stale(tokens, {} if run.options.force and EVERY in tokens else kept)
    if run.options.force and run.date in tokens and run.date not in todo:
        todo.append(run.date)
    if pipeline.source.file_date and run.kind != "none" and run.date not in tokens:
        _missing(run)
    if not tokens and not within(kept, run.window()):
        newest = newest_interval(replace(run, date=""))
        raise GateClosed(
            "no file in the window",
            expected=f"files of {run.window()[0]} to {run.date}",
            found=f"none; the newest file is of {newest}",
            hint=f"run that interval: --date {newest} (or Data interval in the form)",
        )
    ledger = Ledger()
    refused: Refusals = {}
    if todo:
        count = sum(len(files[name]) for name in todo)
        chosen = {name: files[name] for name in todo}
        run.say(f"check: {count} files of {told_range(todo)}")

        def judge(*, numbered: bool) -> tuple[list[tuple[str, Any]], Refusals]:
            splits, refused = plan_readable(run, chosen, by_name=EVERY not in tokens, numbered=numbered)
            with run.shuffle_folder() as shuffle:
                return run.run_job(Check, run.job_plan(table.uri, shuffle=shuffle), splits), refused

        pairs, refused = run.with_guessed_cuts(judge)
        refused |= refused_by_tasks([file for key, value in pairs if key == REFUSED for file in value["files"]])
        tell_refused(run, refused)
        left_out = {intervals.UNKNOWN, REFUSED, *refused}
        rows = [_checked_row(interval, value) for interval, value in pairs if interval not in left_out]
        if not kept and not any(row["rows"] + row["unreadable"] for row in rows):
            raise GateClosed("no readable row", expected="rows in the source files", found=f"none in {count} files")
        found = {row["data_interval"]: tokens.get(row["data_interval"], tokens.get(EVERY, "")) for row in rows}
        now = {EVERY: tokens[EVERY]} | found if EVERY in tokens else {name: tokens[name] for name in todo}
        if rows or set(todo) & set(kept):
            inputs = {name: [tokens[name], name in refused] for name in todo}
            commit_intervals(
                run,
                "check",
                pa.Table.from_pylist(rows, schema=CHECKED),
                transaction=run.transaction("check", inputs, before),
                tokens={name: token for name, token in now.items() if name not in refused},
                replace=None if EVERY in tokens else todo,
            )
        read = sum(row["rows"] + row["unreadable"] for row in rows)
        ledger = Ledger(rows_in=read, rows_out=read)
    return _judged(run, ledger, todo, sorted(refused))


def _checked_row(interval: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data_interval": interval,
        "rows": value["rows"],
        "unreadable": value["unreadable"],
        "verdict": json.dumps(value["verdict"]),
        "stats": base64.b64decode(value["stats"]),
        "fills": base64.b64decode(value["fills"]) if value.get("fills") else None,
        "cuts": json.dumps(value["cuts"]) if value["cuts"] else None,
    }


def _missing(run: Run) -> None:
    source = run.pipeline.source
    among = without_credentials(str(source.uri))
    _absent(run, f"no file of {run.date}", f"a name with {source.file_date} among {among}", "none")


def _absent(run: Run, message: str, expected: str, found: str) -> None:
    """The run's own interval has no file, or none with a row: a failure or a warning, as the pipeline file says."""
    if run.pipeline.source.on_missing_files == "fail":
        hint = "deliver it and run again, or set source.on_missing_files: warn"
        raise InputError(message, expected=expected, found=found, hint=hint)
    run.say(
        f"WARNING {message}: expected {expected}, found {found}; "
        "the window's other intervals go on, a late file is taken up by a later run"
    )


def _judged(run: Run, ledger: Ledger, todo: list[str], refused: list[str]) -> StageResult:
    """The verdicts of the window: the run's own interval fails the run, others are told."""
    verdicts = read_verdicts(run)
    failed = [name for name, verdict in verdicts.items() if verdict.unmet("fail")]
    warned = [outcome for name in todo if name in verdicts for outcome in verdicts[name].unmet("warn")]
    for name in failed:
        if name != run.date:
            run.say(f"WARNING {name} fails its check and is left out")
    if run.date in failed:
        verdicts[run.date].raise_failed(run.date)
    own = verdicts.get(run.date)
    if own is not None and own.rows == 0 and run.kind != "none" and run.pipeline.source.file_date:
        _absent(run, f"the files of {run.date} hold no readable row", "rows", "none")
    met = "NO ROWS YET"
    if own is not None:
        met = f"{sum(each.success for each in own.outcomes)} of {len(own.outcomes)} expectations met"
    return StageResult(
        stage="check",
        table=run.table("check").uri,
        version=run.table("check").version(),
        ledger=ledger if todo else None,
        details={
            "words": f"{run.date}: {met}" if todo else f"nothing new; {run.date}: {met}",
            "intervals": len(todo),
            "rows": own.rows if own is not None else 0,
            "failed": failed[-10:],
            "refused": refused[-10:],
            "warnings": sorted({f"{each.expect}({each.column or ''})" for each in warned})[:20],
        },
    )


def read_verdicts(run: Run) -> dict[str, Verdict]:
    """The verdict on every checked interval of the run's window."""
    rows = run.table("check").read(run.version("check"), columns=["data_interval", "verdict"], intervals=run.window())
    return {row["data_interval"]: Verdict.model_validate_json(row["verdict"]) for row in rows.to_pylist()}


def raw_statistics(run: Run) -> tuple[Stats | None, GroupFills | None]:
    """The merged raw statistics of the window, and what group fills are learned from."""
    pipeline, table = run.pipeline, run.table("check")
    rows = table.read(run.version("check"), columns=["stats", "fills"], intervals=run.window()).to_pylist()
    merged = Stats.merged(Stats.from_bytes(row["stats"]) for row in rows) if rows else None
    fills = [GroupFills.from_bytes(row["fills"], pipeline) for row in rows if row["fills"]]
    groups = fills[0] if fills else None
    for state in fills[1:]:
        groups.merge(state)  # type: ignore[union-attr]
    return merged, groups


def clean(run: Run) -> StageResult:
    """Clean the raw rows of every stale interval into `clean`, and what can't be used into `quarantine`."""
    from mrjobs.clean import Clean

    pipeline, table, quarantine = run.pipeline, run.table("clean"), run.table("quarantine")
    before = base(table)
    if run.version("check") is None:
        raise GateClosed("no checked interval to clean", hint=f"millrace run {pipeline.name} --from check")
    shape = digest(pipeline.columns, pipeline.clean, [each for each in pipeline.check if each.severity == "quarantine"])
    upstream = {name: token for name, token in run.tokens("check").items() if name != EVERY}
    verdicts = read_verdicts(run)
    passed = {name for name, verdict in verdicts.items() if not verdict.unmet("fail")}
    tokens = {name: digest(token, shape) for name, token in upstream.items() if name in passed}
    kept = run.tokens("clean")
    later = sorted(name for name in upstream if name > run.date and EVERY in run.tokens("check"))
    if later:
        run.say(f"clean: rows of {told_range(later)} wait for a run of that date")
    todo = stale_intervals(run, tokens, kept, upstream)
    files = _as_checked(run, todo, upstream) if todo else {}
    todo = [name for name in todo if name in files or name not in tokens]
    if not todo:
        return nothing_new(run, "clean", "clean")
    chosen = sorted({file for name in todo for file in files.get(name, ())})
    transaction = run.transaction("clean", todo, {name: tokens.get(name) for name in todo}, before)
    learned_from = _learned_from(run)
    learned = _learned(run, learned_from)
    uris = {"clean": table.uri, "quarantine": quarantine.uri}
    plan = run.job_plan(table.uri, plan=learned.model_dump(mode="json"), tables=uris, intervals=todo)
    run.say(f"clean: {len(chosen)} files of {told_range(todo)}")
    cuts = _cuts(run, None if EVERY in run.tokens("check") else todo)
    splits = plan_splits(chosen, pipeline, run.profile.split_bytes, cuts=cuts)
    found = run.run_job(Clean, plan, splits)
    pairs = _without_ruins(run, found)
    _tell_broken(run, pairs)
    ruined = {interval for interval, _ in found} - {interval for interval, _ in pairs}
    done = {name: tokens[name] for name in todo if name in tokens and name not in ruined}
    replaced = sorted({interval for interval, _ in pairs} | (set(todo) - ruined))
    if not replaced:
        return nothing_new(run, "clean", "clean")
    parts: dict[str, list[Part]] = {"clean": [], "quarantine": []}
    for _, value in pairs:
        for name, part in value["parts"].items():
            parts[name].append(Part.model_validate(part))
    ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    told = [value["ledger"] for interval, value in pairs if interval != intervals.UNKNOWN]  # the check leaves that out
    conserved("clean", _checked_rows(run, done), Ledger.total(map(Ledger.model_validate, told)))
    quarantined = quarantine.commit(
        Commit(
            parts=parts["quarantine"],
            schema=_with_interval(QUARANTINE),
            transaction=f"{transaction}/quarantine",
            replace=replaced,
            details={"plan": learned.model_dump(mode="json")},
            known_as=learned_from,
        )
    )
    changed = _changes(value["changes"] for _, value in pairs)
    version = table.commit(
        Commit(
            parts=parts["clean"],
            schema=clean_schema(pipeline),
            transaction=transaction,
            replace=replaced,
            ledger=ledger,
            inputs={"check": run.version("check"), "files": len(chosen)},
            details={
                "plan": learned.model_dump(mode="json"),
                "quarantine": quarantined,
                "changes": changed,
            },
            tokens=done,
        )
    )
    return StageResult(
        stage="clean",
        table=table.uri,
        version=version,
        ledger=ledger,
        details={
            "words": f"{told_range(todo)}{told_changes(changed)}",
            "intervals": len(done),
            "ruined": sorted(ruined)[-10:],
        },
    )


def _as_checked(run: Run, todo: list[str], upstream: Mapping[str, str]) -> dict[str, list[SourceFile]]:
    """The source files of the intervals of `todo` whose files still are those that were checked.

    Files that are gone (archived, perhaps) leave their rows as they were cleaned before; files that changed since wait
    for the next check. Raises GateClosed where the run's own interval is one of these.
    """
    now, files = _check_tokens(run)
    found = {}
    for name in todo:
        key = EVERY if EVERY in now else name
        if key in now and upstream.get(name, upstream.get(EVERY)) == now[key]:
            found[name] = files[key]
        elif name == run.date and key in now:
            hint = f"millrace run {run.pipeline.name} --date {run.date} --from check"
            raise GateClosed(f"the files of {name}, or what is asked of them, changed after their check", hint=hint)
        elif name in upstream:
            why = "changed after their check" if key in now else "are gone"
            run.say(f"WARNING {name} stays as it is: its files {why}")
    return found


def _checked_rows(run: Run, names: Iterable[str]) -> int:
    """The rows, readable or not, that the check counted in these intervals."""
    columns = ["rows", "unreadable"]
    rows = run.table("check").read(run.version("check"), columns=columns, intervals=set(names)).to_pylist()
    return sum(row["rows"] + row["unreadable"] for row in rows)


def _cuts(run: Run, names: Iterable[str] | None) -> dict[str, list[list[int]]]:
    """How the check cut the files of these intervals (of all of them: None) and what it counted in the pieces."""
    table, wanted = run.table("check"), None if names is None else set(names)
    found: dict[str, list[list[int]]] = {}
    for text in table.read(run.version("check"), columns=["cuts"], intervals=wanted).column("cuts").to_pylist():
        for path, pieces in json.loads(text or "{}").items():
            found.setdefault(path, []).extend(pieces)
    return found


def _learned_from(run: Run) -> str | None:
    """The name of what cleaning learns from: the raw files of the window and the rules; None where nothing is learned.

    Their statistics won't do: sketches of the same rows differ.
    """
    pipeline = run.pipeline
    if not needs_statistics(pipeline):
        return None
    rows = within(run.tokens("check"), run.window())
    return f"{pipeline.name}/limits/{digest(rows, pipeline.columns, pipeline.clean)}"


def _learned(run: Run, learned_from: str | None) -> CleanPlan:
    """What cleaning learns; a forced rerun, or one after a kill, reads what was learned from the same rows before.

    It is recorded with the quarantine, the first of the two commits.
    """
    table = run.table("quarantine")
    version = table.committed(learned_from) if learned_from is not None else None
    if version is not None:
        return CleanPlan.model_validate(table.details(version)["plan"])
    if learned_from is None:
        return plan_clean(run.pipeline, None)
    text = run.settled(learned_from, lambda: plan_clean(run.pipeline, *raw_statistics(run)).model_dump_json())
    return CleanPlan.model_validate_json(text)


def _without_ruins(run: Run, pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The pairs of the intervals that can be used: of a ruined one hardly any row could be read.

    The run's own interval, ruined, fails the run; another is told and left out, and tried again by the next run.
    """
    limit = run.pipeline.source.max_bad_rows
    ledgers: dict[str, Ledger] = {}
    examples: dict[str, str] = {}
    for interval, value in pairs:
        if value["example"]:
            examples.setdefault(interval, f"first {value['example']}")
        ledgers[interval] = ledgers.get(interval, Ledger()) + Ledger.model_validate(value["ledger"])
    ruined = {
        interval: ledger
        for interval, ledger in ledgers.items()
        if interval != intervals.UNKNOWN and sum(ledger.quarantined.values()) > limit * ledger.rows_in
    }
    for interval, ledger in ruined.items():
        if interval == run.date:
            raise GateClosed(
                f"too many rows of {interval} can't be used",
                expected=f"at most {limit:.0%} (source.max_bad_rows)",
                found=f"{ledger}; {examples[interval]}",
                hint="mend the files, or what the pipeline file says of them, and run again",
            )
        run.say(f"WARNING {interval} is left out, too many of its rows can't be used: {ledger}; {examples[interval]}")
    return [(interval, value) for interval, value in pairs if interval not in ruined]


def _tell_broken(run: Run, pairs: Iterable[tuple[str, Any]]) -> None:
    """Of a file that breaks off, nobody knows how many rows are missing behind: the ledger can't count them."""
    for interval, value in pairs:
        for reason in ("truncated", "corrupt"):
            if value["ledger"]["quarantined"].get(reason):
                run.say(f"WARNING a file of {interval} is {reason} and was read up to there: {value['path']}")


def _with_interval(schema: pa.Schema) -> pa.Schema:
    if "data_interval" in schema.names:
        return schema
    return schema.append(pa.field("data_interval", pa.string()))


def _changes(all_changes: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for changes in all_changes:
        for column, rules in changes.items():
            counts = total.setdefault(column, {})
            for rule, count in rules.items():
                counts[rule] = counts.get(rule, 0) + count
    return total


def stale_intervals(
    run: Run, tokens: Mapping[str, str], kept: Mapping[str, str], there: Mapping[str, str] | None = None
) -> list[str]:
    """The stale intervals (of the window, where files have dates), and with `force` the run's own.

    Where rows tell their intervals, also those of the window that are `kept` but not `there` (by default, not among the
    `tokens`) any more: their rows were corrected into other intervals. A file that is gone takes nothing with it.
    """
    by_file = run.pipeline.source.file_date is not None and run.kind != "none"
    todo = stale(within(tokens, run.window()) if by_file else tokens, kept)
    if not by_file:
        todo += [name for name in within(kept, run.window()) if name not in (tokens if there is None else there)]
    if run.options.force and run.date in tokens and run.date not in todo:
        todo.append(run.date)
    return sorted(todo)


def nothing_new(run: Run, stage: str, name: str) -> StageResult:
    """The result of a stage that finds every interval done."""
    table = run.table(name)
    if not table.exists():
        raise GateClosed(f"{stage} has no interval to work on", hint="the intervals of the window hold no usable rows")
    return StageResult(
        stage=stage, table=table.uri, version=table.version(), details={"words": "nothing new", "intervals": 0}
    )


def told_changes(changes: Mapping[str, Mapping[str, int]]) -> str:
    """How many cells each rule changed, so that no value goes quietly; trimming aside.

    >>> told_changes({"age": {"trim": 9, "range": 2, "type": 1}})
    '; changed cells: age range 2, age type 1'
    """
    told = [
        f"{name} {rule} {count:,}" for name, rules in changes.items() for rule, count in rules.items() if rule != "trim"
    ]
    return f"; changed cells: {', '.join(told)}" if told else ""


def told_range(names: list[str]) -> str:
    """An interval, or the first and last of several with their number."""
    if names == [EVERY]:
        return "all intervals"
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} intervals)"
