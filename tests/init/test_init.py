"""`millrace init` on real files: header, types, roles, interval and leaks by their known truth."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.errors import InputError, RequestError
from millrace.init import write_pipeline_file
from millrace.init.look import look_at
from millrace.pipeline_file import load
from millrace.spec import Pipeline

RealData = Callable[[str], Path]


def write(tmp_path: Path, *uris: Path | str, label: str | None = None) -> tuple[Pipeline, str]:
    path = write_pipeline_file("x", [str(uri) for uri in uris], tmp_path, label=label, force=True)
    return load(path), path.read_text()


@pytest.mark.realdata
def test_talkingdata_mends_the_header_and_flags_the_leak(tmp_path: Path, real_data: RealData) -> None:
    pipeline, text = write(tmp_path, real_data("clicks_talkingdata") / "train_sample.csv")
    assert list(pipeline.columns) == [
        "ip", "app", "device", "os", "channel", "click_time", "attributed_time", "is_attributed"
    ]  # fmt: skip
    assert pipeline.columns["ip"].source == "..ip"
    assert pipeline.columns["attributed_time"].role == "leak"
    assert pipeline.clean["attributed_time"] == "drop"
    assert pipeline.label == "is_attributed"
    assert (pipeline.source.time, pipeline.source.interval) == ("click_time", "daily")
    assert "LEAK: missing or not, it tells the label" in text


@pytest.mark.realdata
def test_fraud_has_a_file_a_night_and_two_traps(tmp_path: Path, real_data: RealData) -> None:
    pipeline, _ = write(tmp_path, real_data("fraud_daily"))
    assert (pipeline.source.file_date, pipeline.source.interval) == ("%Y-%m-%d", "daily")
    roles = {name: column.role for name, column in pipeline.columns.items()}
    assert roles == {
        "TRANSACTION_ID": "ignore",
        "TX_DATETIME": "time",
        "CUSTOMER_ID": "key",
        "TERMINAL_ID": "categorical",
        "TX_AMOUNT": "numeric",
        "TX_TIME_SECONDS": "ignore",
        "TX_TIME_DAYS": "ignore",
        "TX_FRAUD": "label",
        "TX_FRAUD_SCENARIO": "leak",
    }


@pytest.mark.realdata
def test_retail_invoice_numbers_with_letters_are_codes(tmp_path: Path, real_data: RealData) -> None:
    pipeline, _ = write(tmp_path, real_data("retail_daily"))
    assert pipeline.columns["InvoiceNo"].type == "string"
    assert pipeline.columns["CustomerID"].role == "key"
    assert pipeline.columns["InvoiceDate"].role == "time"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "file", "label", "format_", "missing"),
    [
        ("adult_census", "adult-train.csv", "column_15", "csv", " ?"),
        ("clicks_criteo", "train.csv", "column_1", "tsv", ""),
    ],
)
def test_files_without_header(
    tmp_path: Path, real_data: RealData, folder: str, file: str, label: str, format_: str, missing: str
) -> None:
    pipeline, _ = write(tmp_path, real_data(folder) / file)
    assert not pipeline.source.header
    assert (pipeline.label, pipeline.source.format, pipeline.source.interval) == (label, format_, "none")
    assert missing in pipeline.source.null_values


def test_dates_in_other_formats_and_semicolons(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out, delimiter=";")
        writer.writerow(["when", "shop", "price", "sold"])
        writer.writerows([f"{day:02d}.03.2026 10:00:00", "007", f"{day}.5", "0"] for day in range(1, 29))
    pipeline, _ = write(tmp_path, file)
    assert pipeline.source.delimiter == ";"
    assert pipeline.columns["when"].formats == ["%d.%m.%Y %H:%M:%S"]
    assert pipeline.columns["price"].type == "float64"
    assert pipeline.columns["shop"].type == "string"  # 7 is not 007


def test_jsonl_and_a_label_by_name(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.gz"
    with gzip.open(file, "wt") as out:
        out.writelines(
            f'{{"user_id": {i}, "amount": {i / 7}, "label": {str(i % 3 == 0).lower()}}}\n' for i in range(300)
        )
    pipeline, _ = write(tmp_path, file)
    assert pipeline.source.format == "jsonl"
    assert pipeline.label == "label"
    assert pipeline.columns["user_id"].role == "key"


def test_wrong_requests(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("age,city\n1,x\n2,y\n")
    with pytest.raises(RequestError, match="did you mean 'city'"):
        write(tmp_path, file, label="ciy")
    with pytest.raises(InputError):
        write(tmp_path, tmp_path / "missing.csv")
    (tmp_path / "x.yaml").write_text("mine")
    with pytest.raises(RequestError, match="--force"):
        write_pipeline_file("x", [str(file)], tmp_path, label=None, force=False)


@pytest.mark.parametrize(("odd", "rule"), [(3, ["no", "yes"]), (60, None)])
def test_a_labels_odd_values_are_dirt_only_where_they_are_few(tmp_path: Path, odd: int, rule: list[str] | None) -> None:
    file = tmp_path / "orders.csv"
    labels = ["maybe"] * odd + ["yes"] * 60 + ["no"] * (200 - odd)
    file.write_text("shop,returned\n" + "".join(f"{'ab'[i % 2]},{label}\n" for i, label in enumerate(labels)))
    pipeline, _ = write(tmp_path, file, label="returned")
    assert pipeline.rule("returned").values == rule


def test_a_small_file_with_a_broken_end_is_looked_at_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = gzip.compress(b"at,n\n" + b"".join(b"2026-01-01 00:%02d:00,%d\n" % (i % 60, i * 7919) for i in range(2000)))
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    look = look_at([str(tmp_path / "a.csv.gz")])
    assert look.header == ["at", "n"]
    assert look.rows.rows()[:2] == [("2026-01-01 00:00:00", "0"), ("2026-01-01 00:01:00", "7919")]
