"""What people meet at the command line: mistakes in a pipeline file, wrong requests, `--json`, scripts, no secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from road import HEADER, PIPELINE, Road, failure, night

from millrace.script import run_script

TEN_MISTAKES = """\
name: Buys
source: {uri: "DATA/*", formt: csv, time: when, file_date: "%Y-%m-%d", interval: dayly}
columns:
  when: {type: timestmp, role: time}
  who: {type: string, role: kee}
  amount: {type: float64}
  bought: {type: int8, role: label}
shard: {by: who, shards: 0}
window: thirty days
promote: {metrc: roc_auc}
schdule: "0 2 * * *"
"""
TOLD = [
    "line 1, name: expected text that matches ^[a-z]",
    "line 2, source.interval: expected one of hourly, daily, monthly, none, found 'dayly'; did you mean 'daily'?",
    "line 2, source.formt: expected one of",
    "line 4, columns.when.type: expected one of",
    "line 5, columns.who.role: expected one of",
    "line 6, columns.amount: expected a key 'role', found none",
    "line 8, shard.shards: expected a number greater than or equal to 1, found 0",
    "line 9, window: expected a duration such as 60d, 12h or 2w, found 'thirty days'",
    "line 10, promote.metrc: expected one of",
    "line 11, schdule: expected one of",
]


def test_a_pipeline_file_with_ten_mistakes_names_each_with_its_line(road: Road) -> None:
    road.file(1, night(1))
    path = road.pipeline(TEN_MISTAKES)
    told = road.run()
    assert told.status == 2
    lines = told.err.splitlines()
    assert lines[0] == f"PipelineFileError: {path} has 10 mistakes"
    assert len(lines) == 11
    for line, words in zip(lines[1:], TOLD, strict=True):
        assert line.startswith(f"  {path}: {words}")
    document = failure(road.run("--json"))
    assert (document["error"], document["exit_status"]) == ("PipelineFileError", 2)
    assert all(words in document["message"] for words in TOLD)
    assert road.versions() == {}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ("run bys", "PipelineFileError", "did you mean 'buys'?"),
        ("run buys --date yesterday", "RequestError", "a daily interval such as 2026-01-31; found 'yesterday'"),
        ("run buys --window x", "RequestError", "wrong window: expected a duration such as 60d, 12h or 2w, found 'x'"),
        ("run buys --from shard --until check", "RequestError", "--from before --until in check, clean"),
        ("run buys --profile mars", "ProfileError", "unknown profile: expected one of local; found 'mars'"),
        ("lookup buys c1", "InputError", "millrace run buys --until shard"),
        ("run buys --date 2026-01-01 --from shard --until shard", "GateClosed", "shard has no interval to work on"),
        ("run buys --date 2026-01-01 --from clean --until clean", "GateClosed", "millrace run buys --from check"),
        ("run buys --date 2026-01-01 --from sample --until sample", "GateClosed", "no interval is left to train on"),
    ],
)
def test_a_wrong_request(road: Road, arguments: str, error: str, words: str) -> None:
    road.file(1, night(1))
    told = road.millrace(*arguments.split(), "--json")
    document = failure(told)
    assert document["error"] == error
    assert words in told.err
    assert road.versions() == {}


def test_what_nobody_foresaw_is_one_line(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("some bug")

    monkeypatch.setattr("millrace.stages.ingest.plan_readable", fail)
    road.file(1, night(1))
    document = failure(road.run("--json"))
    assert (document["error"], document["exit_status"]) == ("WorkError", 1)
    assert document["found"] == "KeyError: 'some bug'"
    assert "MILLRACE_TRACEBACK=1" in document["hint"]


def test_the_real_command(road: Road) -> None:
    path = road.file(1, HEADER.replace("amount", "price"))
    command = [str(Path(sys.executable).with_name("millrace")), "run", "buys", "-r", "local", "--until", "shard"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"InputError: missing column 'amount' in {path}: expected 4 columns" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_script(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from mrjobs.clean import Clean

    bad, good = road.file(1, HEADER.replace("amount", "price")), road.file(2, night(2))
    monkeypatch.setattr("sys.argv", ["clean.py", "-r", "inline", "--pipeline", "buys", str(bad), str(good)])
    run_script(Clean)
    told = capsys.readouterr()
    assert [json.loads(line)["who"] for line in told.out.splitlines()] == ["c0", "c1", "c2", "c3"]
    assert f"WARNING 2026-01-01 is left out: missing column 'amount' in {bad}" in told.err
    assert "4 rows in, 4 out" in told.err
    monkeypatch.setattr("sys.argv", ["clean.py", "-r", "inline", "--pipeline", "buys", str(bad)])
    with pytest.raises(SystemExit, match="2"):
        run_script(Clean)
    told = capsys.readouterr()
    assert told.out == ""
    assert f"InputError: missing column 'amount' in {bad}" in told.err
    assert "in stage check of buys, interval 2026-01-01" in told.err


def test_no_secret_is_told_or_written(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2hunter2"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("DATABASE_PASSWORD", secret)
    road.file(1, night(1))
    told = [road.run("-r", "local"), road.run("--json")]
    road.file(1, "x")
    told += [road.run(), road.run("--json")]
    road.pipeline(PIPELINE, ("DATA/*", f"s3x://AKIA12:{secret}@bucket/*"))
    told += [road.run(), road.run("--json")]
    assert [each.status for each in told] == [0, 0, 2, 2, 2, 2]
    assert not any(secret in each.out + each.err for each in told)
    for folder, _, names in os.walk(road.folder / "home"):
        for name in names:
            assert secret.encode() not in Path(folder, name).read_bytes(), name
    assert "s3x://***@bucket/*" in json.loads(told[-1].out)["found"]
