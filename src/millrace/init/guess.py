"""Guesses about each column from sample rows: its type, role, missing markers, checks worth having, and leaks.

Every guess carries the words that explain it; they become comments in the pipeline file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import polars as pl

from millrace.spec import ColumnType, Role

MISSING_MARKERS = ("", "?", "-", "--", "NA", "N/A", "n/a", "null", "NULL", "NaN", "nan", "None", r"\N", "#N/A", ".")
CONVERTS = 0.97  # share of the filled values that must convert before a column gets a type
LEAK_AUC = 0.99
IMPOSSIBLE = 0.005  # a smaller share of negative numbers, or of times outside their file, is a mistake
TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
)
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d")
ISO = {"%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M"}
LABEL_NAMES = re.compile(
    r"(?i)(^|_)(label|target|class|churn(ed)?|fraud|is_\w+|clicked|click|converted|outcome|y)$|^is_"
)
KEY_NAMES = re.compile(
    r"(?i)(^|_)(customer|client|user|account|member|card|subscriber)(_?id|_?no|_?number)?$|customerid"
)
CODE_NAMES = re.compile(
    r"(?i)(^|_)(id|ip|code|type|category|channel|app|device|os|zip|flag|class|group|site|campaign|terminal|store)s?$"
    r"|_id$|id$"
)


@dataclass(frozen=True)
class Guess:
    """One column as guessed: name in the pipeline, name in the files, type, role, formats, and why."""

    name: str
    source: str
    type: ColumnType
    role: Role
    formats: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    nulls: float = 0.0
    distinct: int = 0
    rows: int = 0
    minimum: float | None = None
    maximum: float | None = None
    negative: float = 0.0
    values: tuple[str, ...] = field(default=())
    usual_share: float = 0.0  # share of the two most frequent values

    @property
    def never_negative(self) -> bool:
        """Whether a number below zero would be a mistake: hardly any is, or none."""
        return self.minimum is not None and self.negative < IMPOSSIBLE

    @property
    def usual(self) -> tuple[str, ...]:
        """The two most frequent values, in order of text: what a label should be."""
        return tuple(sorted(self.values[:2]))

    def why(self, *words: str) -> Guess:
        """The same guess with more words."""
        return replace(self, words=(*self.words, *words))


def mend_name(source: str, taken: set[str]) -> str:
    """A usable column name: letters, digits and underscores, no junk around it.

    >>> mend_name("..ip", set()), mend_name("Unit Price (£)", set()), mend_name("ip", {"ip"})
    ('ip', 'Unit_Price', 'ip_2')
    """
    name = re.sub(r"\W+", "_", source.strip(), flags=re.ASCII).strip("_") or "column"
    name = f"c{name}" if name[0].isdigit() else name
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique


def missing_markers(rows: pl.DataFrame) -> list[str]:
    """Texts that stand for a missing value: the usual markers that occur, with the blanks they occur with."""
    found = {""}
    for name in rows.columns:
        column = rows[name].drop_nulls()
        found.update(column.filter(column.str.strip_chars().is_in(MISSING_MARKERS)).unique().to_list())
    return sorted(found)


def guess_columns(rows: pl.DataFrame, markers: list[str], has_header: bool) -> list[Guess]:
    """A guess for every column, in order, before the label is known."""
    guesses: list[Guess] = []
    for source in rows.columns:
        name = mend_name(source, {guess.name for guess in guesses})
        column = rows[source]
        column = column.set(column.is_in(markers), None)
        guess = guess_type(name, source, column)
        if has_header and name != source:
            guess = guess.why(f"named {source!r} in the files")
        guesses.append(guess)
    return guesses


def guess_type(name: str, source: str, column: pl.Series) -> Guess:
    """The type of one column of text values (null where missing), with what its values show."""
    filled = column.drop_nulls().str.strip_chars()
    rows, nulls = len(column), column.null_count() / max(1, len(column))
    distinct = filled.n_unique()
    base = Guess(name, source, "string", "categorical", nulls=nulls, distinct=distinct, rows=rows)
    if nulls:
        base = base.why(f"{nulls:.1%} missing")
    if filled.is_empty():
        return replace(base, role="ignore").why("no value at all")
    numbers = filled.cast(pl.Float64, strict=False)
    numbers = numbers.set(numbers.is_infinite() | numbers.is_nan(), None)
    if numbers.null_count() <= (1 - CONVERTS) * len(filled) and not _is_code(filled, numbers):
        good = numbers.drop_nulls()
        whole = bool((good == good.round()).all()) and not filled.str.contains(r"[.eE]").any()
        low, high = float(good.min()), float(good.max())  # type: ignore[arg-type]
        kind: ColumnType = "int64" if whole and abs(low) < 2**62 and abs(high) < 2**62 else "float64"
        negative = float((good < 0).sum()) / len(good)
        guess = replace(base, type=kind, role="numeric", minimum=low, maximum=high, negative=negative)
        if numbers.null_count():
            guess = guess.why(f"{numbers.null_count() / len(filled):.2%} are no numbers")
        guess = guess.why(f"from {low:g} to {high:g}")
        return guess.why(f"{negative:.2%} below zero look impossible") if guess.never_negative and negative else guess
    lowered = filled.str.to_lowercase().unique()
    if lowered.is_in(["true", "false"]).all():
        return replace(base, type="bool")
    for kind, formats in (("timestamp", TIME_FORMATS), ("date", DATE_FORMATS)):
        used, failed = _time_formats(filled, formats, kind)
        if used and failed <= (1 - CONVERTS) * len(filled):
            written = () if set(used) <= ISO else tuple(each.replace("%.f", "") for each in used)
            return replace(base, type=kind, role="time", formats=written)
    counts = filled.value_counts(sort=True)
    values = tuple(counts[filled.name].head(60).to_list()) if distinct <= 50 and distinct < len(filled) / 5 else ()
    share = float(counts["count"].head(2).sum()) / len(filled)
    return replace(base, values=values, usual_share=share).why(f"{distinct:,} values")


def _is_code(filled: pl.Series, numbers: pl.Series) -> bool:
    """Codes look like numbers but lose as numbers: 007 its zeros, C536379 (among 536379…) itself."""
    zeros = filled.str.contains(r"^0\d").sum() > 0.01 * len(filled)
    others = filled.filter(numbers.is_null())
    lettered = others.str.contains(r"^[A-Za-z]{1,3}\d+[A-Za-z]?$").sum()
    return bool(zeros or (lettered > 0.5 * len(others) and lettered > 0.001 * len(filled)))


def _time_formats(filled: pl.Series, formats: tuple[str, ...], kind: str) -> tuple[list[str], int]:
    """The formats that read the values, most useful first, and how many values none reads."""
    dtype = pl.Datetime("us") if kind == "timestamp" else pl.Date
    rest, used = filled, []
    for each in formats:
        if rest.is_empty():
            break
        parsed = rest.str.strptime(dtype, each, strict=False)
        if parsed.null_count() < len(rest) - 0.005 * len(filled):
            used.append(each)
            rest = rest.filter(parsed.is_null())
    return used, len(rest)


def guess_label(guesses: list[Guess], has_header: bool) -> str | None:
    """The column to predict: two values, and a name that says so; without names, the first or last such column."""
    binary = [guess for guess in guesses if guess.distinct == 2 and guess.nulls < 0.05]
    named = [guess for guess in binary if LABEL_NAMES.search(guess.name)]
    if has_header:
        return named[-1].name if named else None
    edges = [guess for guess in (guesses[0], guesses[-1]) if guess in binary]
    return edges[0].name if edges else None


def assign_roles(guesses: list[Guess], label: str | None) -> list[Guess]:
    """Roles from names and counts: label, key, categorical codes, constants."""
    return [_assign_role(guess, label) for guess in guesses]


def _assign_role(guess: Guess, label: str | None) -> Guess:
    filled = guess.rows * (1 - guess.nulls)
    if guess.name == label:
        small = guess.type == "int64" and guess.minimum == 0 and guess.maximum == 1
        return replace(guess, role="label", type="int8" if small else guess.type).why("the column to predict")
    if guess.role in ("time", "ignore"):
        return guess
    if guess.distinct <= 1:
        return replace(guess, role="ignore").why("always the same value")
    if KEY_NAMES.search(guess.name):
        return replace(guess, role="key").why("whom a row is about")
    if (
        guess.type in ("string", "int64")
        and guess.distinct > 0.95 * filled
        and (guess.type == "string" or CODE_NAMES.search(guess.name))
    ):
        return replace(guess, role="ignore").why("names each row" if guess.distinct == filled else "nearly unique")
    if guess.type == "int64" and CODE_NAMES.search(guess.name):
        return replace(guess, role="categorical").why(f"a code: {guess.distinct:,} values")
    return guess


def ignore_clocks(rows: pl.DataFrame, guesses: list[Guess], time: str | None) -> list[Guess]:
    """Numbers that only count the time get the role ignore: a model can't know the future's values of them."""
    by_name = {guess.name: guess for guess in guesses}
    if time is None:
        return guesses
    moments = rows[by_name[time].source].rank("dense").cast(pl.Float64)

    def counts_time(guess: Guess) -> bool:
        values = rows[guess.source].str.strip_chars().cast(pl.Float64, strict=False)
        frame = pl.DataFrame({"time": moments, "value": values}).drop_nulls()
        if len(frame) < 100 or guess.distinct < 3:
            return False
        return abs(float(frame.select(pl.corr("time", "value", method="spearman")).item() or 0.0)) > 0.99

    return [
        replace(guess, role="ignore").why(f"only counts {time}")
        if guess.role == "numeric" and counts_time(guess)
        else guess
        for guess in guesses
    ]


def find_leaks(rows: pl.DataFrame, guesses: list[Guess], markers: list[str], label: str) -> list[Guess]:
    """Mark columns that alone predict the label: by value (area under the ROC curve), or by being missing."""
    by_name = {guess.name: guess for guess in guesses}
    target = rows[by_name[label].source].str.strip_chars()
    classes = target.drop_nulls().unique().sort()
    if len(classes) != 2:
        return guesses
    rare = min(classes.to_list(), key=lambda value: int((target == value).sum()))
    positive = (target == rare).fill_null(False)
    if positive.sum() < 20:
        return guesses
    return [_mark_leak(rows[guess.source], guess, markers, positive) for guess in guesses]


def _mark_leak(column: pl.Series, guess: Guess, markers: list[str], positive: pl.Series) -> Guess:
    if guess.role in ("label", "ignore") and guess.type != "timestamp" and guess.distinct <= 1:
        return guess
    if guess.role == "label":
        return guess
    missing = column.is_null() | column.is_in(markers)
    by_missing = _auc((~missing).cast(pl.Float64), positive)
    if max(by_missing, 1 - by_missing) > LEAK_AUC:
        return replace(guess, role="leak").why("LEAK: missing or not, it tells the label")
    if guess.type in ("int64", "float64"):
        values = column.str.strip_chars().cast(pl.Float64, strict=False).fill_null(float("-1e300"))
    else:
        values = _out_of_fold_rate(column, positive)
    area = _auc(values, positive)
    if max(area, 1 - area) > LEAK_AUC:
        return replace(guess, role="leak").why(f"LEAK: alone it predicts the label with AUC {max(area, 1 - area):.3f}")
    prefix = _out_of_fold_rate(column.str.strip_chars().str.slice(0, 1), positive)
    if guess.type == "string" and _auc(prefix, positive) > LEAK_AUC:
        return replace(guess, role="leak").why("LEAK: its first letter tells the label")
    return guess


def _out_of_fold_rate(column: pl.Series, positive: pl.Series) -> pl.Series:
    """Mean label of the other half's rows with the same value, so that a unique value predicts nothing."""
    frame = pl.DataFrame({"value": column, "positive": positive.cast(pl.Float64)}).with_row_index()
    frame = frame.with_columns(fold=pl.col("index") % 2)
    overall = float(frame["positive"].mean())  # type: ignore[arg-type]
    rates = frame.group_by("value", "fold").agg(pl.col("positive").mean().alias("rate"))
    rates = rates.with_columns(fold=1 - pl.col("fold").cast(pl.Int64)).with_columns(pl.col("fold").cast(pl.UInt32))
    joined = frame.with_columns(pl.col("fold").cast(pl.UInt32)).join(
        rates, on=["value", "fold"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["rate"].fill_null(overall)


def _auc(scores: pl.Series, positive: pl.Series) -> float:
    """Area under the ROC curve by ranks: (R₊ − n₊(n₊+1)/2) / (n₊ n₋) (doi:10.1148/radiology.143.1.7063747)."""
    ranks = scores.rank("average")
    above = int(positive.sum())
    below = len(positive) - above
    if not above or not below:
        return 0.5
    total = float(ranks.filter(positive).sum())
    return (total - above * (above + 1) / 2) / (above * below)
