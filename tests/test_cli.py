"""The command line: results on standard output (JSON with --json), words on standard error, exit status by error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from millrace.cli import main
from millrace.doctor import examine
from tests.orders import orders

__all__ = ["orders"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def document(*arguments: str) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom millrace.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pandas', 'pyarrow', 'polars', 'sklearn', 'mlflow', 'great_expectations', 'airflow'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_status_and_lookup_load_no_mlflow_and_no_pandas(orders: Path) -> None:
    document("run", "orders", "--date", "2026-01-12", "--until", "promote", "-r", "inline")
    for command in (["status", "orders"], ["lookup", "orders", "3", "--rows"]):
        code = f"import sys\nfrom millrace.cli import main\nmain({[*command, '--json']}, standalone_mode=False)\n"
        code += "print({'mlflow', 'sqlalchemy', 'pandas', 'polars', 'sklearn', 'mrjob'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        said, loaded = done.stdout.splitlines()
        assert '"version": 1' in said or '"rows": 84' in said
        assert loaded == "set()"


def test_run_status_lookup_vacuum_and_rollback(orders: Path) -> None:
    results = document("run", "orders", "--date", "2026-01-12", "-r", "inline")
    assert [each["stage"] for each in results][:4] == ["check", "clean", "shard", "stats"]
    assert results[1]["ledger"]["rows_in"] == 720
    status = document("status", "orders")
    assert status["tables"]["sharded"]["rows"] == 720
    assert status["champion"]["version"] == 1
    assert Path(status["report"]).name == "2026-01-12.html"
    assert status["what_if_reports"] == []
    [found] = document("lookup", "orders", "3", "--rows")
    assert found["rows"] == len(found["records"]) == 12 * 7
    assert {record["customer"] for record in found["records"]} == {3}
    assert document("vacuum", "orders", "--dry-run")["sharded"] == []
    refused = call("rollback", "orders")
    assert refused.exit_code == 1
    assert "no former champion" in refused.stderr


def test_errors_have_an_exit_status_and_one_message(orders: Path) -> None:
    unreachable = call("run", "orders", "-r", "hadoop")
    assert unreachable.exit_code == 2
    assert "hadoop can't run with the profile local, which keeps its tables on this machine" in unreachable.stderr
    assert "another runner: inline, local, spark" in unreachable.stderr
    assert "expected Input should be 'inline', 'local'" in call("run", "orders", "-r", "spork").stderr
    wrong = call("run", "ordrs")
    assert wrong.exit_code == 2
    assert "did you mean 'orders'?" in wrong.stderr
    as_json = call("run", "ordrs", "--json")
    assert json.loads(as_json.stdout)["error"] == "PipelineFileError"
    (orders / "data" / "2026-01-12.csv").write_text("at,customer,shop,price,returned\n")
    failed = call("run", "orders", "--date", "2026-01-12", "-r", "inline", "--until", "check")
    assert failed.exit_code == 1
    assert "table_row_count_to_be_between" in failed.stderr


def test_schema_is_json_schema() -> None:
    assert json.loads(call("schema").stdout)["title"] == "Millrace pipeline"


def test_doctor_finds_everything_here_and_names_a_broken_pipeline_file(orders: Path) -> None:
    assert [finding.name for finding in examine(None) if not finding.ok] == []
    (orders / "pipelines" / "broken.yaml").write_text("name: Broken\n")
    [finding] = [finding for finding in examine(None) if not finding.ok]
    assert finding.name == "pipeline files"
    assert "broken.yaml" in finding.words
