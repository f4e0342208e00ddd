"""The command line: each command calls the same functions as Airflow and prints for people, or as JSON."""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from millrace import __version__
from millrace.errors import MillraceError, WorkError
from millrace.quick_start import quick_start
from millrace.stage_names import FRAMES, JOBS, STAGES

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
TRACEBACK = "MILLRACE_TRACEBACK"
PROFILE = click.option("--profile", help="Profile to run with (default: MILLRACE_PROFILE, else local).")


def unforeseen(error: Exception) -> MillraceError:
    """What an error that is none of Millrace's own tells people."""
    from millrace.mapreduce.failures import summary
    from millrace.storage.refusals import is_refusal, write_refused

    if is_refusal(error):
        return write_refused(str(getattr(error, "filename", None) or Path.cwd()), error)
    hint = f"{TRACEBACK}=1 in the environment shows where; that is of use in a bug report"
    return WorkError("stopped by what Millrace didn't foresee", found=summary(error), hint=hint)


class Group(click.Group):
    """Millrace's errors become one clear message and the exit status of their class; no traceback for people."""

    arguments: tuple[str, ...] = ()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error as one message, on standard output too where JSON was asked for."""
        try:
            return super().invoke(ctx)
        except MillraceError as error:
            failure = error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            failure = unforeseen(error)
        self.tell(failure)
        ctx.exit(failure.exit_status)
        return None

    def tell(self, failure: MillraceError) -> None:
        """Print what failed, and where."""
        notes = list(getattr(failure, "__notes__", ()))
        if "--json" in self.arguments:
            parts = {"message": failure.message, "expected": failure.expected, "found": failure.found}
            document = {"error": type(failure).__name__, **parts, "hint": failure.hint, "where": notes}
            click.echo(json.dumps(document | {"exit_status": failure.exit_status}))
        click.secho(f"{type(failure).__name__}: {failure}", fg="red", err=True)
        for note in notes:
            click.secho(f"  {note}", err=True)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments: a failure must know whether JSON was asked for."""
        self.arguments = tuple(args)
        return super().parse_args(ctx, args)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="millrace")
def main() -> None:
    """One pipeline file becomes a nightly run: check, clean, shard, measure, sample, train, promote, score."""
    atexit.register(gc.freeze)  # the interpreter's last search for garbage would take a tenth of a second
    quick_start()


def emit(document: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a result as JSON, or let `show` print it for people."""
    if as_json:
        click.echo(json.dumps(document, default=str))
    else:
        show(document)


def say(words: str) -> None:
    """Progress goes to standard error, so that standard output holds results alone."""
    click.secho(f"  {words}", err=True, dim=True)


def what_if(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that change what the pipeline file says, for one run; it has a report of its own."""
    methods = click.Choice(["auto", "all", "random", "stratified", "cluster", "recent"])
    for option in (
        click.option("--sample-rows", type=click.IntRange(min=1), help="What if: so many rows teach."),
        click.option("--sample-method", type=methods, help="What if: they are drawn so."),
        click.option("--window", help="What if: a window of this length, such as 60d."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
@click.option("--label", help="The column to predict (default: guessed).")
@click.option("--force", is_flag=True, help="Overwrite an existing pipeline file.")
@JSON
def init(name: str, files: tuple[str, ...], label: str | None, force: bool, as_json: bool) -> None:
    """Write pipelines/NAME.yaml by looking at FILES."""
    from millrace.init import write_pipeline_file
    from millrace.pipeline_file import load
    from millrace.profiles import pipelines_folder

    path = write_pipeline_file(name, files, pipelines_folder(), label=label, force=force)
    found = load(path).label

    def show(_: Any) -> None:
        click.echo(f"wrote {path}: read it, then: millrace run {name}")
        if found is None:
            click.echo("no column to predict was found; to train a model, name it: --label COLUMN --force")

    emit({"pipeline_file": str(path), "label": found}, as_json, show)


@main.command()
@click.argument("name")
@click.option("--date", help="Data interval, such as 2026-01-31 (default: the newest in the files).")
@click.option("--from", "first", type=click.Choice(STAGES), help="First stage to run.")
@click.option("--until", "last", type=click.Choice(STAGES), help="Last stage to run.")
@what_if
@click.option("-r", "--runner", help="inline, local, hadoop, emr or spark, as the profile allows (default: its own).")
@click.option("--force", is_flag=True, help="Do the run's interval again even where nothing changed.")
@click.option("--approve", "approved", is_flag=True, help="Say yes to a promotion that awaits a person.")
@PROFILE
@JSON
def run(
    name: str, date: str | None, first: str | None, last: str | None, profile: str | None, as_json: bool, **options: Any
) -> None:
    """Run the stages of pipeline NAME without Airflow."""
    from millrace.mapreduce.tasks import prestart
    from millrace.mapreduce.taskserver import threads
    from millrace.profiles import load_profile
    from millrace.stages import open_run, run_stages

    first, last = first or STAGES[0], last or STAGES[-1]
    asked = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    runner = options["runner"] or load_profile(profile).runner
    needed = [JOBS[stage] for stage in asked if stage in JOBS]
    if runner == "local" and needed:
        frames = [name for stage in asked for name in FRAMES.get(stage, ())]
        prestart(fork=threads() == 1, preload=[*needed, *frames])  # a fork of a process with threads might hang
    opened = open_run(name, date, profile=profile, options=options, say=say)
    click.secho(f"{opened.pipeline.name} {opened.date}", bold=True, err=True)
    results = run_stages(opened, first, last)
    documents = [result.model_dump(mode="json") for result in results]

    def show(_: Any) -> None:
        from millrace.stages.show import results_table

        results_table(results)

    emit(documents, as_json, show)


@main.command()
@click.argument("name")
@PROFILE
@JSON
def status(name: str, profile: str | None, as_json: bool) -> None:
    """Table versions, rows, champion of pipeline NAME."""
    from millrace.stages import open_run
    from millrace.stages.show import show_champion, show_status, status_of

    opened = open_run(name, "", profile=profile)
    found = status_of(opened)
    if not as_json:
        show_status(found)
    from millrace.stages.learn import champion_summary

    found["champion"] = champion_summary(opened) if found["tables"] else None
    emit(found, as_json, lambda _: show_champion(found["champion"]))


@main.command()
@click.argument("name")
@click.option("--date", help="Data interval (default: the newest).")
@what_if
@PROFILE
@JSON
def report(name: str, date: str | None, profile: str | None, as_json: bool, **options: Any) -> None:
    """Write one HTML file of pictures of a run; of a what-if run, with the options that it had."""
    from millrace.stages import open_run
    from millrace.stages.reporting import write_report

    path = write_report(open_run(name, date, profile=profile, options=options))
    emit({"report": path}, as_json, lambda _: click.echo(path))


@main.command()
@click.argument("name")
@click.argument("keys", nargs=-1, required=True)
@click.option("--rows", is_flag=True, help="Print the rows of the key too.")
@PROFILE
@JSON
def lookup(name: str, keys: tuple[str, ...], rows: bool, profile: str | None, as_json: bool) -> None:
    """Which shard and files of pipeline NAME hold each KEY."""
    from millrace.stages import open_run
    from millrace.stages.show import lookup_keys, show_lookup

    found = lookup_keys(open_run(name, "", profile=profile), keys, rows)
    emit(found, as_json, show_lookup)


@main.command()
@click.argument("name")
@PROFILE
@JSON
def rollback(name: str, profile: str | None, as_json: bool) -> None:
    """Make the former champion of pipeline NAME the champion again."""
    from millrace.stages import open_run
    from millrace.stages.learn import rollback_champion

    result = rollback_champion(open_run(name, "", profile=profile))
    emit(result, as_json, lambda each: click.echo(f"champion of {name}: version {each['champion']}"))


@main.command()
@click.argument("name")
@click.option("--retention", default="7d", show_default=True, help="Versions younger than this stay readable.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@PROFILE
@JSON
def vacuum(name: str, retention: str, dry_run: bool, profile: str | None, as_json: bool) -> None:
    """Remove files that no version of the tables of NAME needs any more, and what dead jobs left behind."""
    from millrace.stages import open_run
    from millrace.stages.maintain import vacuum_leftovers, vacuum_tables

    def show(removed: dict[str, list[str]]) -> None:
        for place, files in removed.items():
            click.echo(f"{place}: {len(files)} {'would go' if dry_run else 'removed'}")

    opened = open_run(name, "", profile=profile, say=say)
    removed = vacuum_tables(opened, retention, dry_run)
    emit(removed | {"leftovers": vacuum_leftovers(opened, dry_run)}, as_json, show)


@main.command()
@PROFILE
@JSON
def pack(profile: str | None, as_json: bool) -> None:
    """Make the worker environment of a cluster's tasks and put it on the store, once per set of versions."""
    from millrace.errors import RequestError
    from millrace.mapreduce.cluster import needs_pack, pack_folder
    from millrace.mapreduce.pack import find
    from millrace.mapreduce.pack import pack as make
    from millrace.profiles import load_profile

    loaded = load_profile(profile)
    if not needs_pack(loaded):
        hint = "tasks use the packages that are installed here"
        raise RequestError("nothing to pack", expected="a profile with a cluster", found=loaded.name, hint=hint)
    folder = pack_folder(loaded)
    made = find(folder) is None
    found = make(folder, say)
    size = sum(archive.size for archive in find(folder) or ())
    document = {"environment": found.environment, "code": found.code, "bytes": size, "made": made}

    def show(_: Any) -> None:
        click.echo(f"{size / 1e6:,.0f} MB {'made' if made else 'were there'}:")
        click.echo(f"  {found.environment}\n  {found.code}")

    emit(document, as_json, show)


@main.command()
@PROFILE
@JSON
def doctor(profile: str | None, as_json: bool) -> None:
    """Is everything there that this profile needs?"""
    from millrace.doctor import examine

    findings = examine(profile)

    def show(_: Any) -> None:
        for finding in findings:
            mark = click.style("ok", fg="green") if finding.ok else click.style("no", fg="red")
            click.echo(f"{mark}  {finding.name}: {finding.words}")

    emit([finding.model_dump() for finding in findings], as_json, show)
    if not all(finding.ok for finding in findings):
        sys.exit(1)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the pipeline file, for editors."""
    from millrace.pipeline_file import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command()
@click.option("--port", type=int, help="Port of the UI (default: a free one).")
def up(port: int | None) -> None:
    """Start Airflow with the DAGs on this machine, embedded everything; end with Ctrl-C."""
    from millrace.airflow.up import serve

    serve(port)


@main.command()
@click.option("--nights", default=3, show_default=True, help="How many of the last nights Airflow runs.")
@click.option("--rows", default=400_000, show_default=True, help="Rows of click logs to make.")
@click.option("--seed", default=1, show_default=True)
@JSON
def demo(nights: int, rows: int, seed: int, as_json: bool) -> None:
    """Make 60 days of click logs and let Airflow retrain on the last nights and score everything."""
    from millrace.demo import run_demo

    summary = run_demo(Path.cwd(), nights=nights, rows=rows, seed=seed)
    if as_json:
        click.echo(json.dumps(summary, default=str))
