"""Simulated daily click logs for `millrace demo`: rows of a known logistic model, then dirt, then gzip files.

`simulate` writes ``clicks-YYYY-MM-DD.csv.gz`` files and ``_truth.json``, which holds what was put into each file. The
same seed writes the same bytes. A click is one row: a shown advertisement, and whether it was `clicked`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from millrace.errors import RequestError

COLUMNS = (
    "click_id", "click_time", "customer_id", "ip", "campaign", "site", "app", "os", "country",
    "bid", "age", "dwell_seconds", "clicked",
)  # fmt: skip
CLICK_RATE = 0.02
CHANGED_DAYS = 21
CUSTOMERS, IPS, CAMPAIGNS, SITES, APPS = 40_000, 1_000_000, 60, 3_000, 300
NEW_CAMPAIGN = "cmp-new"
SYSTEMS = ("android", "ios", "windows", "macos", "linux")
COUNTRIES = (
    ("US", "IN", "BR", "DE", "GB", "FR", "MX", "ID", "JP", "TR", "IT", "ES", "PL")
    + ("CA", "NL", "KR", "AR", "PH", "VN", "TH", "EG", "NG", "ZA", "CO", "SE", "CH")
    + ("BE", "AT", "DK", "NO", "FI", "PT", "GR", "CZ", "HU", "RO", "IE", "IL", "AU", "NZ")
)
GROWING, COOLING = COUNTRIES.index("BR"), COUNTRIES.index("IN")
MISSING = {"age": 0.25, "dwell_seconds": 0.08, "bid": 0.01, "os": 0.02, "site": 0.03}
DIRT = {
    "ragged": 0.001,
    "wrong_type:age": 0.001,
    "wrong_type:bid": 0.001,
    "impossible:age": 0.002,
    "impossible:click_time": 0.0005,
    "spelling:country": 0.01,
}  # a row has at most one of these
DUPLICATES = 0.005
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Simulated:
    """What `simulate` wrote: files delivered in time, the late one, the truncated one (also in `files`), the truth."""

    folder: Path
    files: list[Path]
    late: Path
    truncated: Path
    truth: Path
    changed_from: date


def simulate(
    folder: str | Path,
    *,
    days: int = 60,
    rows: int = 400_000,
    seed: int = 0,
    last_day: date = date(2026, 10, 31),
    late_day: date | None = None,
) -> Simulated:
    """Write `rows` clicks over the `days` that end with `last_day`, a gzip CSV file a day, dirt included.

    The file of `late_day` (by default two days before the last) goes to the folder ``_late`` inside `folder`: move it
    up to deliver it. The file of ten days before the last (or of the first day) is cut in the middle of its gzip
    stream. In the last three weeks a new campaign takes an eighth of the rows, one country has four times its share,
    and another one clicks less.

    Click probability is logistic in campaign, site, operating system, country, customer, log bid, age, dwell time and
    hour; its intercept makes 2 % of the rows clicks. ``_truth.json`` has the counts of each kind of dirt per file and
    the AUC of the true probability.

    Raises RequestError where `days` is below 4, `rows` below `days`, or `late_day` isn't one of the days.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = simulate(folder, days=5, rows=1_000, last_day=date(2026, 1, 5))
    ...     [path.name for path in made.files], made.late.name, made.truncated.name
    (['clicks-2026-01-01.csv.gz', 'clicks-2026-01-02.csv.gz', 'clicks-2026-01-04.csv.gz', 'clicks-2026-01-05.csv.gz'],
    'clicks-2026-01-03.csv.gz', 'clicks-2026-01-01.csv.gz')
    """
    if days < 4 or rows < days:
        raise RequestError("too little to simulate", expected="4 days and a row a day", found=f"{days}, {rows}")
    first = last_day - timedelta(days=days - 1)
    late_day = late_day or last_day - timedelta(days=2)
    if not first <= late_day <= last_day:
        raise RequestError("late_day is none of the days", expected=f"{first} to {last_day}", found=str(late_day))
    cut_day = max(first, last_day - timedelta(days=10))
    if cut_day == late_day:
        cut_day += timedelta(days=1) if cut_day < last_day else -timedelta(days=1)
    folder = Path(folder)
    (folder / "_late").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    clicks, facts = _clicks(random, rows, days, datetime(first.year, first.month, first.day))
    written = _dirty(random, clicks)
    files: list[Path] = []
    truths: dict[str, Any] = {}
    paths: dict[date, Path] = {}
    for (number,), part in written.partition_by("day", as_dict=True, maintain_order=True).items():
        day = first + timedelta(days=int(number))
        name = f"clicks-{day}.csv.gz"
        paths[day] = folder / "_late" / name if day == late_day else folder / name
        content, truths[name] = _file(part, cut=day == cut_day)
        paths[day].write_bytes(content)
        if day != late_day:
            files.append(paths[day])
    truth = folder / "_truth.json"
    changed = max(first, last_day - timedelta(days=CHANGED_DAYS - 1))
    facts |= {"seed": seed, "changed_from": str(changed), "late": f"clicks-{late_day}.csv.gz", "files": truths}
    truth.write_text(json.dumps(facts, indent=1) + "\n")
    return Simulated(folder, files, paths[late_day], paths[cut_day], truth, changed)


def _skewed(random: np.random.Generator, values: int, size: int, power: float) -> Ints:
    """Indices below `values`, drawn with probability proportional to 1 / (index + 5) ** power."""
    limits = np.cumsum(1 / (np.arange(values) + 5.0) ** power)
    return np.minimum(np.searchsorted(limits, random.random(size) * limits[-1]), values - 1).astype(np.int64)


def _days(random: np.random.Generator, rows: int, days: int) -> Ints:
    """The day number of each row, in order: weekends are quieter, every day has at least one row."""
    weights = random.uniform(0.9, 1.1, days) * np.where(np.arange(days) % 7 >= 5, 0.75, 1.0)
    counts = 1 + random.multinomial(rows - days, weights / weights.sum())
    return np.repeat(np.arange(days, dtype=np.int64), counts)


def _clicks(random: np.random.Generator, rows: int, days: int, start: datetime) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Clean typed rows in order of time, with the label drawn from the model; and the facts of the model."""
    day = _days(random, rows, days)
    changed = day >= days - CHANGED_DAYS
    hour = np.clip(random.normal(14, 5, rows), 0, 23.999)
    seconds = (hour * 3600).astype(np.int64)
    order = np.lexsort((seconds, day))
    seconds, hour = seconds[order], hour[order]
    customer = _skewed(random, CUSTOMERS, rows, 0.8)
    home = (customer * 7919 + 13) % IPS
    ip = np.where(random.random(rows) < 0.5, home, random.integers(0, IPS, rows))
    campaign = _skewed(random, CAMPAIGNS, rows, 1.0)
    campaign[changed & (random.random(rows) < 0.125)] = CAMPAIGNS
    site = _skewed(random, SITES, rows, 1.1)
    app = _skewed(random, APPS, rows, 1.0)
    system = _skewed(random, len(SYSTEMS), rows, 2.0)
    country = _skewed(random, len(COUNTRIES), rows, 1.0)
    share = float((country == GROWING).mean())
    country[changed & (random.random(rows) < 3 * share / (1 - share))] = GROWING
    bid = np.round(np.exp(random.normal(-0.5, 0.6, rows)), 4)
    age = np.clip(random.normal(38, 14, rows), 16, 95).astype(np.int64)
    dwell = np.round(random.exponential(40, rows), 1)
    logit = (
        random.normal(0, 0.55, CAMPAIGNS + 1)[campaign]
        + random.normal(0, 0.40, SITES)[site]
        + random.normal(0, 0.20, len(SYSTEMS))[system]
        + random.normal(0, 0.35, len(COUNTRIES))[country]
        + random.normal(0, 0.30, CUSTOMERS)[customer]
        + 0.9 * (np.log(bid) + 0.5)
        - 0.30 * ((age - 38) / 14.0)
        + 0.7 * np.log1p(dwell / 40)
        + 0.30 * np.sin((hour - 8) / 24 * 2 * np.pi)
    )
    logit += np.where(changed & (country == COOLING), -1.0, 0.0) + np.where(campaign == CAMPAIGNS, 0.6, 0.0)
    intercept = _intercept(logit)
    probability = 1 / (1 + np.exp(-(logit + intercept)))
    clicked = random.random(rows) < probability
    names = pl.Series([f"cmp-{number:02d}" for number in range(CAMPAIGNS)] + [NEW_CAMPAIGN])
    times = np.datetime64(start, "us") + (day * 86_400 + seconds).astype("timedelta64[s]")
    frame = pl.DataFrame(
        {
            "day": day,
            "click_id": np.arange(1, rows + 1),
            "click_time": times,
            "customer_id": 100_000 + customer,
            "ip": ip,
            "campaign": names.gather(campaign),
            "site": site,
            "app": app,
            "os": pl.Series(SYSTEMS).gather(system),
            "country": pl.Series(COUNTRIES).gather(country),
            "bid": bid,
            "age": age,
            "dwell_seconds": dwell,
            "clicked": clicked.astype(np.int8),
        }
    )
    facts = {"rows": rows, "clicks": int(clicked.sum()), "intercept": intercept, "auc": _auc(probability, clicked)}
    return frame, facts


def _intercept(logit: Floats) -> float:
    """The constant that makes the mean probability `CLICK_RATE`, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if (1 / (1 + np.exp(-(logit + middle)))).mean() > CLICK_RATE else (middle, high)
    return round((low + high) / 2, 9)


def _auc(scores: Floats, labels: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Area under the ROC curve of untied scores (Mann–Whitney)."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    return round(float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives)), 6)


def _dirty(random: np.random.Generator, clicks: pl.DataFrame) -> pl.DataFrame:
    """The lines as they are written, with the columns day, line, dirt, copy and one flag per missing value."""
    rows = clicks.height
    kinds = list(DIRT)
    drawn = np.searchsorted(np.cumsum(list(DIRT.values())), random.random(rows), side="right")
    dirt = pl.Series("dirt", ["none", *kinds]).gather((drawn + 1) % (len(kinds) + 1))
    missing = {f"missing:{name}": random.random(rows) < rate for name, rate in MISSING.items()}
    year = random.random(rows)  # where in the year 2087
    frame = clicks.with_columns(dirt, pl.Series("moment", year), *(pl.Series(k, v) for k, v in missing.items()))
    is_dirt = {kind: pl.col("dirt") == kind for kind in kinds}
    ip = pl.col("ip")
    texts = {
        "click_time": pl.when(is_dirt["impossible:click_time"])
        .then(pl.format("2087-{}", pl.col("click_time").dt.strftime("%m-%d %H:%M:%S")))
        .otherwise(pl.col("click_time").dt.strftime("%Y-%m-%d %H:%M:%S")),
        "ip": pl.format("10.{}.{}.{}", ip // 10_000, ip // 100 % 100, ip % 100),
        "site": pl.format("site{}.example", pl.col("site")),
        "app": pl.format("app{}", pl.col("app")),
        "country": pl.when(is_dirt["spelling:country"])
        .then(pl.format(" {}", pl.col("country").str.to_lowercase()))
        .otherwise(pl.col("country")),
        "bid": pl.when(is_dirt["wrong_type:bid"]).then(pl.lit("abc")).otherwise(pl.col("bid").cast(pl.String)),
        "age": pl.when(is_dirt["wrong_type:age"])
        .then(pl.lit("abc"))
        .when(is_dirt["impossible:age"])
        .then(pl.format("-{}", pl.col("age")))
        .otherwise(pl.col("age").cast(pl.String)),
    }
    named = {name: texts.get(name, pl.col(name).cast(pl.String)) for name in COLUMNS}
    flags = {f"missing:{name}": pl.col(f"missing:{name}") & _spared(name) for name in MISSING}
    frame = frame.with_columns(**flags)
    for name in MISSING:
        named[name] = pl.when(pl.col(f"missing:{name}")).then(pl.lit("")).otherwise(named[name])
    whole = pl.concat_str(list(named.values()), separator=",")
    short = pl.concat_str(list(named.values())[:7], separator=",")
    line = (
        pl.when(is_dirt["ragged"] & (pl.col("click_id") % 2 == 0))
        .then(short)
        .when(is_dirt["ragged"])
        .then(pl.format("{},extra,field", whole))
        .otherwise(whole)
    )
    columns = [pl.col("day"), line.alias("line"), pl.col("dirt"), pl.col("clicked"), *map(pl.col, flags)]
    lines = frame.select(*columns, pl.int_range(rows).cast(pl.Float64).alias("place"), pl.lit(False).alias("copy"))
    copies = lines.filter(pl.Series(random.random(rows) < DUPLICATES) & (pl.col("dirt") == "none"))
    later = pl.Series(random.integers(0, 200, copies.height) + 0.5)
    copies = copies.with_columns(pl.col("place") + later, pl.lit(True).alias("copy"))
    return pl.concat([lines, copies]).sort("day", "place", "copy", maintain_order=True)


def _spared(name: str) -> pl.Expr:
    """Rows whose value of this column may go missing: those without dirt in it, or in their shape."""
    return ~pl.col("dirt").is_in(["ragged", f"wrong_type:{name}", f"impossible:{name}"])


def _file(part: pl.DataFrame, *, cut: bool) -> tuple[bytes, dict[str, Any]]:
    """One file's bytes and the truth about it: of the lines that can be read whole, where the file is cut."""
    text = "\n".join([",".join(COLUMNS), *part["line"].to_list(), ""]).encode()
    content = gzip.compress(text, compresslevel=3, mtime=0)
    truth: dict[str, Any] = {
        "truncated": cut,
        "lines_before_cut": part.height,
        "duplicates_before_cut": int(part["copy"].sum()),
    }
    if cut:
        content = content[: len(content) * 6 // 10]
        readable = zlib.decompressobj(wbits=31).decompress(content)
        part = part.head(max(0, readable.count(b"\n") - 1))
    return content, truth | _counts(part)


def _counts(part: pl.DataFrame) -> dict[str, Any]:
    """Lines, clicks, copies, and the number of cells or rows with each kind of dirt."""
    dirt = dict(part.group_by("dirt").len().sort("dirt").iter_rows())
    counted: dict[str, Any] = {
        "lines": part.height,
        "duplicates": int(part["copy"].sum()),
        "clicks": int(part.filter(~pl.col("copy"))["clicked"].sum()),
        "ragged": dirt.get("ragged", 0),
    }
    for kind in ("wrong_type", "impossible", "spelling"):
        counted[kind] = {name.split(":")[1]: dirt.get(name, 0) for name in DIRT if name.startswith(kind)}
    counted["missing"] = {name: int(part[f"missing:{name}"].sum()) for name in MISSING}
    return counted
