"""The events that are measured: a number of rows and a seed in, CSV and Parquet files out, the same on every machine.

Fifteen columns: ids, a time, skewed categories from 5 to 3 million values, numbers with 0 to 25 % missing, a label that
they predict. Some cells need cleaning, some rows are copies of others. Files hold four million rows each and belong to
one day. They are made once and kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.truth import truth

VERSION = 1  # of the data: kept files of another one aren't used
SEED = 20260330
DAY = date(2026, 3, 30)
FILE_ROWS = 4_000_000
ROW_GROUP_ROWS = 250_000


@dataclass(frozen=True)
class Data:
    """Where the events of a size lie."""

    folder: Path
    rows: int

    def files(self, kind: str) -> list[str]:
        """The files of a format, csv or parquet."""
        return sorted(str(path) for path in self.folder.glob(f"*.{kind}"))

    def size(self, kind: str) -> int:
        """Bytes of all files of a format."""
        return sum(Path(path).stat().st_size for path in self.files(kind))

    @property
    def truth(self) -> dict[str, dict[str, object]]:
        """The exact statistics of every column."""
        return json.loads((self.folder / "truth.json").read_text())["columns"]  # type: ignore[no-any-return]


def make_data(place: Path, rows: int, say: Callable[[str], None], day: date = DAY, seed: int = SEED) -> Data:
    """The events of one day, made if they aren't there."""
    folder = place / f"v{VERSION}-{day}-{rows}"
    data = Data(folder, rows)
    if (folder / "truth.json").exists():
        return data
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for number, first in enumerate(range(0, rows, FILE_ROWS)):
        say(f"making events {first:,} of {rows:,}")
        events = make_events(first, min(FILE_ROWS, rows - first), day, seed + number)
        write_events(events, draft / f"events-{day}-{number:02d}")
    say("measuring them exactly")
    known = {"rows": rows, "columns": truth(sorted(draft.glob("*.parquet")))}
    (draft / "truth.json").write_text(json.dumps(known))
    draft.rename(folder)
    return data


def make_days(place: Path, days: int, rows: int, say: Callable[[str], None]) -> Path:
    """A folder of one CSV file a day, of so many rows each, the last day `DAY`; made if it isn't there."""
    folder = place / f"v{VERSION}-{days}-days-{rows}"
    if folder.exists():
        return folder
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    say(f"making {days} days of {rows:,} events")
    for back in range(days):
        day = DAY - timedelta(days=back)
        make_events(0, rows, day, SEED + 1000 + back).write_csv(draft / f"events-{day}.csv", datetime_format="%F %T")
    draft.rename(folder)
    return folder


def write_events(events: pl.DataFrame, path: Path) -> None:
    """One file in each format."""
    events.write_csv(path.with_suffix(".csv"), datetime_format="%F %T")
    events.write_parquet(path.with_suffix(".parquet"), compression="zstd", row_group_size=ROW_GROUP_ROWS)


def make_events(first: int, rows: int, day: date, seed: int) -> pl.DataFrame:
    """So many events of a day, numbered from `first`; one in a thousand is a copy of another."""
    draw = np.random.default_rng([seed, rows])
    columns = dict(_columns(draw, first, rows, day))
    events = pl.DataFrame(columns)
    places = np.arange(rows)
    copies = draw.random(rows) < 0.001
    places[copies] = draw.integers(0, rows, int(copies.sum()))
    return events[places]


def _columns(draw: np.random.Generator, first: int, rows: int, day: date) -> Iterator[tuple[str, pl.Series]]:
    """The columns in their order."""
    places = {name: _skewed(draw, values, rows) for name, values in SIZES.items()}
    price = np.round(draw.lognormal(2.5, 0.8, rows), 2)
    amount = np.round(price * draw.uniform(0.5, 3, rows), 2)
    amount = np.where(draw.random(rows) < 0.003, -amount, amount)
    age = np.clip(draw.normal(41, 14, rows), 18, 95).astype(np.int16)
    signal = draw.normal(0, 1, rows)
    logit = -4 + 0.9 * signal + 0.02 * (age - 40) + 0.8 * (places["channel"] == 2) - 0.01 * price
    age = np.where(draw.random(rows) < 0.0005, np.int16(999), age)
    start = np.datetime64(datetime(day.year, day.month, day.day), "us")
    seconds = np.sort(draw.integers(0, 86_400, rows)).astype("timedelta64[s]")

    yield "event_id", pl.Series(np.arange(first, first + rows) * 7 + 1_000_000_007)
    yield "event_time", pl.Series(start + seconds)
    yield "customer_id", _missing(draw, pl.Series(places["customer_id"].astype(np.int64) + 100_000), 0.001)
    yield "device", _picked(_devices(), places["device"])
    yield "channel", _picked(CHANNELS, np.where(draw.random(rows) < 0.02, places["channel"] + 5, places["channel"]))
    yield "country", _missing(draw, _picked(COUNTRIES, places["country"]), 0.02)
    yield "city", _missing(draw, _picked([f"City {number:04d}" for number in range(5_000)], places["city"]), 0.05)
    yield "page", _picked([f"/item/{number * 37 % 1_000_003}" for number in range(100_000)], places["page"])
    yield "campaign", _missing(draw, pl.Series(places["campaign"].astype(np.int32) + 7_000), 0.2)
    yield "amount", _missing(draw, pl.Series(amount), 0.1)
    yield "price", pl.Series(price)
    yield "duration", _missing(draw, pl.Series(np.round(draw.exponential(90, rows), 3)), 0.25)
    yield "age", _missing(draw, pl.Series(age), 0.05)
    yield "signal", _missing(draw, pl.Series(signal), 0.01)
    yield "clicked", pl.Series((draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8))


SIZES = {
    "customer_id": 800_000,
    "device": 3_000_000,
    "channel": 5,
    "country": 60,
    "city": 5_000,
    "page": 100_000,
    "campaign": 300,
}
CHANNELS = ["web", "app", "mail", "store", "phone", "WEB", " app", "Mail ", "Store", "phone "]
"""As they should be written, then as they also are."""
COUNTRIES = ["GB", "US", "UK", "U.S.", *(f"{a}{b}" for a in "ABCDEFG" for b in "EILORSTZ")]


def _skewed(draw: np.random.Generator, values: int, rows: int) -> np.ndarray:
    """Numbers below `values`, small ones the most frequent by far."""
    return (values * draw.random(rows) ** 2.5).astype(np.int64)


def _picked(values: list[str], places: np.ndarray) -> pl.Series:
    return pl.Series(values)[places]


@cache
def _devices() -> list[str]:
    return [f"d-{number * 2_654_435_761 % 2**32:08x}" for number in range(SIZES["device"])]


def _missing(draw: np.random.Generator, values: pl.Series, share: float) -> pl.Series:
    """The values with a share of them missing."""
    gone = pl.Series(draw.random(len(values)) < share)
    return pl.select(pl.when(~gone).then(values)).to_series()
