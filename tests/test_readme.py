"""What README and the jobs' docstrings show is true: the file loads, and each command runs right after the demo."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from millrace.cli import main
from millrace.demo import LAST_DAY, NAME
from millrace.init import write_pipeline_file
from millrace.pipeline_file import find_mistakes
from millrace.simulate import simulate

HOME = Path(__file__).parents[1]
README = (HOME / "README.md").read_text()
JOBS = ("check", "clean", "shard", "feature_stats", "sample")


def commands(text: str, program: str) -> list[list[str]]:
    """The command lines of a text that call a program, as words behind it."""
    lines = [line.split("#")[0] for line in text.split("\n")]
    return [shlex.split(line)[1:] for line in lines if re.match(rf"\s*(\.venv/bin/)?{program} ", line)]


def job_commands() -> list[list[str]]:
    texts = [README, *(str(importlib.import_module(f"mrjobs.{job}").__doc__) for job in JOBS)]
    return [command for text in texts for command in commands(text, "python")]


def test_the_pipeline_file_of_the_readme_has_no_mistake() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert find_mistakes(text) == []


def test_every_millrace_command_of_the_readme_can_be_given() -> None:
    lines = commands(README, "millrace") + [shlex.split(each)[1:] for each in re.findall(r"`(millrace [^`]*)`", README)]
    assert len(lines) >= 8
    for name, *arguments in lines:
        command = main.commands[name]
        if arguments:
            assert command.make_context(name, arguments).params
        assert not isinstance(command, click.Group)


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the demo leaves it, with fewer days and rows."""
    folder = tmp_path_factory.mktemp("demo")
    made = simulate(folder / "data" / NAME, days=15, rows=3000, seed=1, last_day=LAST_DAY, late_day=LAST_DAY)
    made.late.rename(folder / "data" / NAME / made.late.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_pipeline_file(NAME, [f"data/{NAME}/*.csv.gz"], folder / "pipelines", label=None, force=False)
    (folder / "mrjobs").symlink_to(HOME / "mrjobs")
    return folder


@pytest.mark.parametrize("command", sorted({" ".join(words) for words in job_commands()}))
def test_every_job_that_is_shown_runs_after_the_demo(command: str, after_the_demo: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} {command}"], cwd=after_the_demo, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert " rows in, " in done.stderr or "nothing new" in done.stderr  # a table that is up to date
    assert bool(done.stdout) != ("--table" in command)
