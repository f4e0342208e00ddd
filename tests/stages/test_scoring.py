"""Any table is scored, each row once: of this pipeline, of another, and Delta tables that others wrote."""

from __future__ import annotations

import base64
import json
import os
import signal
import string
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from millrace.errors import GateClosed, InputError, LedgerError, PipelineFileError
from millrace.mapreduce.part_splits import read_part, split_parts
from millrace.stages import open_run, run_stages
from millrace.stages.report_data import nights, scoring_facts
from millrace.storage.foreign import open_foreign
from tests.orders import PIPELINE

Go = Callable[..., tuple[Any, dict[str, Any]]]
OTHERS = "elsewhere/orders_delta"


def ask(folder: Path, table: str) -> None:
    """Name the table to be scored in the pipeline file."""
    (folder / "pipelines" / "orders.yaml").write_text(f"{PIPELINE}score: {{table: {table}}}\n")


def score(said: list[str] | None = None) -> tuple[Any, Any]:
    opened = open_run(
        "orders", "2026-01-12", options={"runner": "inline"}, say=(lambda words: None) if said is None else said.append
    )
    return opened, run_stages(opened, "score", "score")[0]


def by_id(opened: Any) -> dict[int, float]:
    rows = opened.table("scores").read(columns=["row_id", "score"])
    return dict(zip(rows["row_id"].to_pylist(), rows["score"].to_pylist(), strict=True))


def orders_as_text(opened: Any) -> pa.Table:
    """The clean rows as another system may hold them: all text, and nothing of Millrace's own."""
    rows = opened.table("clean").read().drop_columns(["row_id", "source_file", "data_interval"])
    return pa.table({name: rows.column(name).cast(pa.string()) for name in rows.column_names})


@pytest.fixture
def trained(run: Go, orders: Path) -> Any:
    """A run whose pipeline has a champion and has scored its sharded table."""
    return run()[0]


def test_a_delta_table_of_text_gives_the_scores_of_the_same_rows(trained: Any, orders: Path) -> None:
    own = by_id(trained)
    write_deltalake(OTHERS, orders_as_text(trained), partition_by=["shop"])
    ask(orders, OTHERS)
    said: list[str] = []
    opened, result = score(said)
    assert by_id(opened) == pytest.approx(own)
    assert (result.ledger.rows_in, result.ledger.rows_out) == (720, 720)
    scores = opened.table("scores").read()
    assert set(scores["data_interval"].to_pylist()) == {"all"}
    assert set(scores["data_version"].to_pylist()) == {0}
    assert scores["customer"].null_count == 0
    assert "WARNING the scores of sharded give way: score.table is elsewhere/orders_delta now" in said
    assert score()[1].details["words"] == "nothing new"
    told = scoring_facts(opened)
    assert told is not None
    assert (told.other, told.rows, told.models) == (OTHERS, 720, [1])
    assert {night.scored for night in nights(opened, {}, {})} == {None}


def test_new_categories_missing_values_and_unreadable_cells_are_scored(trained: Any, orders: Path) -> None:
    rows = pa.table({"at": ["2026-02-30", None], "shop": ["Atlantis", None], "price": ["dear", "12.5"]})
    write_deltalake(OTHERS, rows)
    ask(orders, OTHERS)
    said: list[str] = []
    opened, result = score(said)
    assert result.details["unreadable"] == {"at": 1, "price": 1}
    assert "WARNING 1 values of price in elsewhere/orders_delta can't be read as float64 and count as missing" in said
    scores = opened.table("scores").read()
    assert scores.num_rows == 2
    assert all(0 < value < 1 for value in scores["score"].to_pylist())
    assert scores["customer"].to_pylist() == [None, None]


def test_a_table_with_intervals_and_ids_is_scored_where_its_files_changed(trained: Any, orders: Path) -> None:
    rows = pa.table(
        {"row_id": [1, 2, 3], "at": pa.nulls(3, pa.timestamp("us")), "price": [1, 2, 3], "shop": ["a", "b", "a"]}
    )
    table = rows.append_column("data_interval", pa.array(["may", "june", "june"]))
    write_deltalake(OTHERS, table, partition_by=["data_interval"])
    ask(orders, OTHERS)
    score()
    write_deltalake(OTHERS, table.slice(0, 1), mode="append")
    opened, result = score()
    assert result.details["words"].startswith("may of")
    assert result.ledger.rows_in == 2
    assert opened.table("scores").intervals() == {"june": 2, "may": 2}
    assert sorted(opened.table("scores").read()["row_id"].to_pylist()) == [1, 1, 2, 3]
    DeltaTable(OTHERS).delete("data_interval = 'june'")
    opened, _ = score()
    assert opened.table("scores").intervals() == {"may": 2}


def test_the_table_of_another_pipeline(trained: Any, orders: Path) -> None:
    ask(orders, "returns/clean")
    with pytest.raises(PipelineFileError, match="no pipeline 'returns'"):
        score()
    other = PIPELINE.replace("name: orders", "name: returns").replace(
        "customer: {type: int64", "customer: {type: int32"
    )
    (orders / "pipelines" / "returns.yaml").write_text(other)
    with pytest.raises(GateClosed, match="millrace run returns --until clean"):
        score()
    run_stages(open_run("returns", "2026-01-12", options={"runner": "inline", "window": "2d"}), "check", "clean")
    opened, result = score()
    assert result.ledger.rows_in == 120
    assert opened.table("scores").intervals() == {"2026-01-11": 60, "2026-01-12": 60}
    run_stages(open_run("returns", "2026-01-12", options={"runner": "inline", "window": "3d"}), "check", "clean")
    opened, result = score()
    assert result.ledger.rows_in == 60
    assert opened.table("scores").intervals() == {"2026-01-10": 60, "2026-01-11": 60, "2026-01-12": 60}


def test_the_sample_and_back_to_the_sharded_table(trained: Any, orders: Path) -> None:
    own = by_id(trained)
    ask(orders, "sample")
    opened, result = score()
    assert result.ledger.rows_out == 540
    assert opened.table("scores").intervals() == opened.table("sample").intervals()
    ask(orders, "sharded")
    opened, result = score()
    assert result.ledger.rows_out == 720
    assert by_id(opened) == own


@pytest.mark.parametrize("fault", ["after_part_write", "before_scoring_commit", "before_commit", "after_commit"])
def test_a_kill_and_a_rerun_score_each_row_once(trained: Any, orders: Path, fault: str) -> None:
    own = by_id(trained)
    write_deltalake(OTHERS, orders_as_text(trained))
    ask(orders, OTHERS)
    command = [sys.executable, "-c", "from millrace.cli import main; main()", "run", "orders", "--date", "2026-01-12"]
    killed = subprocess.run(
        [*command, "--from", "score", "--until", "score", "-r", "inline"],
        env={**os.environ, "MILLRACE_FAULT": fault},
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    opened, _ = score()
    assert opened.table("scores").version() == 1
    assert opened.table("scores").read().num_rows == 720
    assert by_id(opened) == pytest.approx(own)


def test_rows_that_the_log_counts_and_the_files_lack_refuse_the_commit(
    trained: Any, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mrjobs.score.read_part", lambda *split, **how: (batch.slice(1) for batch in read_part(*split, **how))
    )
    write_deltalake(OTHERS, orders_as_text(trained))
    ask(orders, OTHERS)
    with pytest.raises(LedgerError, match="1 rows disappeared"):
        score()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"at": ["2026-01-01"], "prize": [1.0], "shop": ["a"]}, r"needs: expected price; found.*'prize' for 'price'"),
        ({"at": ["2026-01-01"], "price": [[1.0]], "shop": ["a"]}, r"'price' of .* expected float64; found list"),
        ({"at": ["x"], "price": [1.0], "shop": ["a"], "row_id": ["x"]}, r"'row_id' of .* an integer; found string"),
    ],
)
def test_columns_that_cant_be_the_models_are_named(
    trained: Any, orders: Path, rows: dict[str, Any], words: str
) -> None:
    write_deltalake(OTHERS, pa.table(rows))
    ask(orders, OTHERS)
    with pytest.raises(InputError, match=words):
        score()


def test_a_folder_without_a_table(trained: Any, orders: Path) -> None:
    ask(orders, "elsewhere/none")
    with pytest.raises(InputError, match=r"no Delta Lake table.*_delta_log.*elsewhere/none"):
        score()
    assert not (orders / "elsewhere").exists()


@pytest.mark.parametrize(
    ("table", "hint"), [("shraded", "did you mean 'sharded'?"), ("customers", "a folder here is written './customers'")]
)
def test_a_word_that_is_no_table_is_a_mistake_of_the_file(orders: Path, table: str, hint: str) -> None:
    ask(orders, table)
    with pytest.raises(PipelineFileError, match=r"line 18, score.table: expected sharded, clean or sample") as told:
        open_run("orders", "2026-01-12")
    assert hint in str(told.value)


def test_partition_values_with_odd_signs_name_their_files(tmp_path: Path) -> None:
    write_deltalake(
        tmp_path / "t", pa.table({"x": [1, 2, 3], "city": ["New York", "a:b%", None]}), partition_by=["city"]
    )
    table = open_foreign(str(tmp_path / "t"))
    assert sorted(map(str, (each["city"] for each in table.values.values()))) == ["New York", "None", "a:b%"]
    assert all((tmp_path / "t" / part.path).exists() for part in table.parts)


def test_a_large_file_is_cut_between_its_row_groups(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": range(100)}), tmp_path / "a.parquet", row_group_size=30)
    write_deltalake(tmp_path / "t", pa.table({"x": range(10)}))
    [part] = open_foreign(str(tmp_path / "t")).parts
    large = part.model_copy(update={"path": "a.parquet"})
    cut = split_parts(str(tmp_path), [large], split_size=1)
    assert [(split.first_row, split.row_groups, split.interval) for split in cut] == [
        (1, (0,), "all"),
        (31, (1,), "all"),
        (61, (2,), "all"),
        (91, (3,), "all"),
    ]


def log_of(table: Path) -> tuple[Path, list[dict[str, Any]]]:
    log = table / "_delta_log" / f"{0:020}.json"
    return log, [json.loads(line) for line in log.read_text().splitlines()]


def deleted(*rows: int) -> str:
    """An inline deletion vector: Z85 of Delta's magic number, one bitmap, and a Roaring bitmap with one array."""
    bitmap = struct.pack(f"<IIHHI{len(rows)}H", 12346, 1, 0, len(rows) - 1, 16, *rows)
    letters = string.digits + string.ascii_uppercase + string.ascii_lowercase + "!#$%&()*+-;<=>?@^_`{|}~"
    z85 = string.digits + string.ascii_lowercase + string.ascii_uppercase + ".-:+=^!/*?&<>()[]{}@%$#"
    text = base64.b85encode(struct.pack("<IQI", 1681511377, 1, 0) + bitmap).decode()
    return text.translate(str.maketrans(letters, z85))


def test_what_isnt_read_is_refused(tmp_path: Path) -> None:
    by_id = {"delta.columnMapping.mode": "name", "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
    write_deltalake(tmp_path / "mapped", pa.table({"x": range(40)}), configuration=by_id)
    with pytest.raises(InputError, match="columnMapping"):
        open_foreign(str(tmp_path / "mapped"))
    feature = {"delta.enableDeletionVectors": "true"}
    write_deltalake(tmp_path / "vectors", pa.table({"x": range(40)}), configuration=feature)
    assert open_foreign(str(tmp_path / "vectors")).parts[0].rows == 40
    log, actions = log_of(tmp_path / "vectors")
    vector = {"storageType": "i", "pathOrInlineDv": deleted(3, 4), "sizeInBytes": 36, "cardinality": 2}
    for action in actions:
        action.get("add", {}).update({"deletionVector": vector} if "add" in action else {})
    log.write_text("\n".join(map(json.dumps, actions)))
    kept = pa.table(DeltaTable(tmp_path / "vectors").deletion_vectors())["selection_vector"][0].as_py()
    assert [row for row, stays in enumerate(kept) if not stays] == [3, 4]
    with pytest.raises(InputError, match="deletion vectors"):
        open_foreign(str(tmp_path / "vectors"))


def test_files_whose_rows_the_log_doesnt_count_are_counted(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", pa.table({"x": range(40)}))
    log, actions = log_of(tmp_path / "t")
    for action in actions:
        action.get("add", {}).pop("stats", None)
    log.write_text("\n".join(map(json.dumps, actions)))
    assert open_foreign(str(tmp_path / "t")).parts[0].rows == 40
    assert pc.sum(DeltaTable(tmp_path / "t").to_pyarrow_table()["x"]).as_py() == 780
