"""One pipeline on every engine and store: files go in, seconds a stage and whether the tables are equal come out.

    python -m services start && eval "$(python -m services env)"
    python benchmarks/engines.py 'data/clicks/*.csv.gz' --engine local-file --engine hadoop-s3
    python benchmarks/engines.py FOLDER --set window=30d --until sample

The pipeline file is what `millrace init` writes, with the top-level lines given by ``--set`` put in place of its own.
The files are copied to each store first. The reference is the inline runner on a local folder; a table is equal when
its rows are, in their order, and its ledger. Statistics beyond 2,048 distinct values come from sketches that draw
random bits: of the stats table, rows, nulls and bounds are compared.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from millrace.init import write_pipeline_file
from millrace.mapreduce.store_fs import remove
from millrace.profiles import Profile, pipelines_folder
from millrace.stages import Run, open_run, run_stages
from millrace.storage.files import list_files, open_input, write_file

NAME = "engines"
TABLES = ("clean", "quarantine", "sharded", "stats", "sample", "scores")
EXACT_STATS = ["data_interval", "column", "label_class", "rows", "nulls", "min", "max"]
REFERENCE = "inline-file"
NEEDED = ("AWS_ENDPOINT_URL", "AWS_REGION", "MILLRACE_HDFS", "HADOOP_HOME")
ENGINES = ("local-file", "local-s3", "local-hdfs", "spark-s3", "hadoop-s3", "hadoop-hdfs", "emr-s3")


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True)
@click.option("--engine", "engines", multiple=True, type=click.Choice(ENGINES), help="Default: all.")
@click.option("--set", "lines", multiple=True, metavar="KEY=VALUE", help="A top-level line of the pipeline file.")
@click.option("--date", help="The night (default: the newest in the files).")
@click.option("--until", "last", default="score", show_default=True, help="The last stage.")
@click.option("--tasks", default=4, show_default=True, help="Map tasks at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    files: Sequence[str], engines: Sequence[str], lines: Sequence[str], date: str | None, last: str, tasks: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Run the pipeline on each engine, and compare."""
    if any(engine != "local-file" for engine in engines or ENGINES) and not {*NEEDED} <= {*os.environ}:
        raise click.UsageError(
            f'expected {", ".join(NEEDED)} in the environment; run: eval "$(python -m services env)"'
        )
    found: dict[str, dict[str, Any]] = {}
    tables: dict[str, Mapping[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-engines-") as place:
        text = pipeline_text(Path(place), files, dict(line.split("=", 1) for line in lines))
        sources = list_files(list(files))
        for engine in (REFERENCE, *(engines or ENGINES)):
            click.echo(f"{engine} …", err=True)
            home = Path(place) / engine
            settings = profile(engine, str(home / "store"), tasks)
            for name in ("pipelines", "profiles"):
                (home / name).mkdir(parents=True)
            for source in sources:
                with open_input(source.path) as file:
                    write_file(f"{settings['root']}/raw/{Path(source.path).name}", file.read())
            (home / "pipelines" / f"{NAME}.yaml").write_text(text.replace("RAW", f"{settings['root']}/raw"))
            (home / "profiles" / "engine.yaml").write_text(json.dumps(settings))
            os.environ |= {"MILLRACE_HOME": str(home / "home"), "MILLRACE_PROFILES": str(home / "profiles")}
            os.environ["MILLRACE_PIPELINES"] = str(home / "pipelines")
            asked = {"runner": settings["runner"]}
            run = open_run(NAME, date, profile="engine", options=asked, say=lambda words: click.echo(words, err=True))
            results = run_stages(run, "check", last)
            tables[engine] = contents(run)
            found[engine] = {
                "seconds": {result.stage: result.seconds for result in results},
                "ledgers": {result.stage: str(result.ledger) for result in results if result.ledger},
                "differs": differences(tables[REFERENCE], tables[engine]),
            }
            if engine != REFERENCE:
                remove(settings["root"])
                del tables[engine]
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        show(found)
    sys.exit(1 if any(each["differs"] for each in found.values()) else 0)


def pipeline_text(place: Path, files: Sequence[str], lines: Mapping[str, str]) -> str:
    """The pipeline file for the files, which lie at RAW."""
    os.environ |= {"MILLRACE_PIPELINES": str(place / "pipelines"), "MILLRACE_HOME": str(place / "home")}
    write_pipeline_file(NAME, list(files), pipelines_folder(), label=None, force=True)
    text = (pipelines_folder() / f"{NAME}.yaml").read_text("utf-8")
    for key, value in lines.items():
        text = re.sub(rf"(?m)^{key}:.*\n(?:[ #].*\n)*", "", text) + f"{key}: {value}\n"
    return re.sub(r"\{uri: (\[[^\]]*\]|\"[^\"]*\"|[^,]*),", '{uri: "RAW/*",', text, count=1)


def profile(engine: str, local: str, tasks: int) -> dict[str, Any]:
    """The settings of a profile for an engine and a store of `python -m services`."""
    runner, store = engine.split("-")
    own = f"engines-{uuid.uuid4().hex[:8]}"
    hdfs = os.environ.get("MILLRACE_HDFS", "")
    root = {"file": local, "s3": f"s3://millrace/{own}", "hdfs": f"{hdfs}/{own}"}[store]
    python = os.path.realpath(sys.executable)
    found: dict[str, Any] = {"runner": runner, "root": root, "tasks": tasks}
    if store == "s3":
        found["s3"] = {"endpoint": os.environ["AWS_ENDPOINT_URL"], "region": os.environ["AWS_REGION"]}
    if runner == "hadoop":
        found |= {"work": f"{hdfs}/engines-work", "hadoop": {"bin": f"{os.environ['HADOOP_HOME']}/bin/hadoop"}}
        found["hadoop"]["python"] = python
    if runner == "spark":
        found["spark"] = {"master": f"local[{tasks}]"}
    if runner == "emr":
        found["emr"] = {"python": python, "pool": own, "poll_seconds": 1, "service_role": "x", "instance_profile": "x"}
    Profile.model_validate({"name": "engine", "home": local, "registry": "x", **found})
    return found


def contents(run: Run) -> dict[str, Any]:
    """The rows of all tables; without the names of places."""
    found: dict[str, Any] = {}
    for name in TABLES:
        table = run.table(name)
        if table.exists():
            rows = pl.DataFrame(table.read())
            found[name] = rows.select(EXACT_STATS) if name == "stats" else rows.drop("source_file", strict=False)
    return found


def differences(reference: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The tables that aren't equal."""
    return [name for name in reference if name not in found or not reference[name].equals(found[name])]


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the seconds of each stage on each engine."""
    grid = Grid("engine", *found[REFERENCE]["seconds"], "all", "tables")
    for engine, each in found.items():
        seconds = [f"{value:.1f}" for value in each["seconds"].values()]
        equal = f"differ: {', '.join(each['differs'])}" if each["differs"] else "equal"
        grid.add_row(engine, *seconds, f"{sum(each['seconds'].values()):.0f}", equal)
    Console(width=200).print(grid)


if __name__ == "__main__":
    main()
