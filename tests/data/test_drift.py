"""Drift: worked examples, false alarms and power by simulation, and real data that drifts and that doesn't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from millrace.data.drift import DriftVerdict, compare, drift_columns, split_window
from millrace.data.drift_measures import balanced_psi, halves_test, holm, jensen_shannon, l_infinity, psi
from millrace.data.stats import Stats, outlines_from_table, to_table
from millrace.errors import RequestError
from millrace.spec import Drift, Pipeline


def stats(table: pa.Table, label: str | None = None) -> Stats:
    return Stats.empty(table.schema, label).update(table)


def test_measures_by_hand() -> None:
    """Shares 1/2, 1/2 against 1/4, 3/4, with so many rows that half a row more doesn't matter."""
    a, b = [5e8, 5e8], [2.5e8, 7.5e8]
    assert psi(a, b) == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5))
    assert jensen_shannon(a, b) == pytest.approx(
        (0.5 * np.log2(4 / 3) + 0.5 * np.log2(4 / 5)) / 2 + (0.25 * np.log2(2 / 3) + 0.75 * np.log2(6 / 5)) / 2
    )
    assert l_infinity(a, b) == 0.25
    assert balanced_psi(a, b) == pytest.approx(psi(a, b))


def test_kolmogorov_smirnov_by_hand() -> None:
    """1…100 against 31…130: at 30 all of one and none of the other 30 % are below."""
    halves = [stats(pa.table({"a": np.arange(start, start + 100.0)})) for start in (1, 31)]
    [column] = compare(*halves, Drift()).columns
    assert column.ks == pytest.approx(0.3)
    assert column.ks_p_value == pytest.approx(0.00025, abs=0.0002)  # exp(-2 · 0.09 · 50) · 2


def test_one_interval_each_is_the_chi_squared_test() -> None:
    from scipy.stats import chi2_contingency

    counts = np.array([[50.0, 30.0, 20.0], [40.0, 30.0, 40.0]])
    assert halves_test(counts[:1], counts[1:]).p_value == pytest.approx(chi2_contingency(counts).pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.5, 0.01, 0.02, 0.9]) == [1.0, 0.04, 0.06, 1.0]


def test_split_window() -> None:
    days = [f"2018-04-{day:02d}" for day in range(1, 11)]
    assert split_window(days, "daily", Drift()) == (days[:5], days[5:])
    assert split_window(days, "daily", Drift.model_validate({"recent": "2d", "reference": "1w"})) == (
        days[1:8],
        days[8:],
    )
    assert split_window(["all"], "none", Drift()) == (["all"], [])
    assert split_window(days[:1], "daily", Drift()) == ([days[0]], [])


@pytest.mark.parametrize(
    ("reference", "recent", "day_effect"),
    [(1, 1, 0.0), (30, 30, 0.0), (30, 30, 0.1), (53, 7, 0.1), (6, 1, 0.1)],  # one on each side can't tell a day effect
)
def test_chance_is_what_it_says_also_where_days_differ(reference: int, recent: int, day_effect: float) -> None:
    """Without drift, at most 5 % of p-values are below 5 % (± 3 standard errors of 500 trials), and 1 % below 1 %."""
    random = np.random.default_rng(5)
    found = []
    for _ in range(500):
        base = random.dirichlet(np.full(11, 5.0))
        shares = base * np.exp(random.normal(0, day_effect, (reference + recent, 11)))
        sizes = random.poisson(10_000 * np.exp(random.normal(0, 0.2, reference + recent)))
        days = np.array(
            [random.multinomial(size, share / share.sum()) for size, share in zip(sizes, shares, strict=True)], float
        )
        found.append(halves_test(days[:reference], days[reference:]).p_value)
    below = [float(np.mean(np.array(found) < level)) for level in (0.05, 0.01)]
    assert below[0] <= 0.08
    assert below[1] <= 0.024


def days(count: int, seed: int, shift: float = 0.0, rows: int = 3_000) -> list[Stats]:
    """Days with effects of their own; `shift`: standard deviations of the number, and what the rest moves by."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        day = random.normal(0, 0.05)
        chances = np.exp(random.normal(0, 0.05, 5) + np.array([2 * shift, 0, 0, 0, 0]))
        table = pa.table(
            {
                "amount": random.normal(shift + day, 1, rows),
                "kind": pa.array([f"k{code}" for code in random.choice(5, rows, p=chances / chances.sum())]),
                "user": pa.array([f"u{code}" for code in random.integers(0, 10**6, rows)]),
                "y": (random.random(rows) < 0.01 * np.exp(2 * shift + day)).astype(np.int8),
            }
        )
        found.append(stats(table, "y"))
    return found


@pytest.fixture(scope="module")
def quiet() -> list[Stats]:
    return days(60, 1)


def test_no_alarm_without_drift(quiet: list[Stats]) -> None:
    verdict = compare(quiet[:30], quiet[30:], Drift())
    assert (verdict.drifted, verdict.words, verdict.shift, verdict.share) == (False, "alike", "none", 0.0)
    assert verdict.reason == "none of 4 columns drifted over 90000 and 90000 rows"
    assert DriftVerdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_a_shift_is_seen(quiet: list[Stats]) -> None:
    verdict = compare(quiet[:30], [*quiet[:20], *days(10, 2, shift=1.5)], Drift())
    assert verdict.words == "shifted"
    verdict = compare(quiet[:30], days(10, 2, shift=0.6), Drift())
    assert verdict.shift == "both"
    assert {column.column for column in verdict.columns if column.drifted} == {"amount", "kind", "y"}
    assert verdict.columns[-1].reason.startswith("nothing to compare")


def test_outlines_give_the_verdict_of_the_statistics(quiet: list[Stats]) -> None:
    halves = quiet[:30], days(30, 2, shift=0.6)
    names = ["amount", "kind", "user", "y"]
    tables = [
        pa.concat_tables(to_table(f"{place:02d}", day, names) for place, day in enumerate(half)) for half in halves
    ]
    outlines = [list(outlines_from_table(table).values()) for table in tables]
    whole, lean = (compare(*given, Drift(), columns=names) for given in (halves, outlines))
    assert (lean.reason, lean.reference_rows) == (whole.reason, whole.reference_rows)
    exact = [[column for column in each.columns if column.ks is None] for each in (whole, lean)]
    assert exact[0] == exact[1]
    psis = [column.psi for each in (whole, lean) for column in each.columns if column.ks is not None]
    assert psis[0] == pytest.approx(psis[1], rel=0.05)  # quantile sketches draw random bits
    assert 2 * tables[0]["outline"].nbytes < tables[0]["state"].nbytes


def test_a_trifle_is_no_drift_however_sure(quiet: list[Stats]) -> None:
    verdict = compare(quiet[:30], days(30, 2, shift=0.15), Drift(), columns=["amount"])
    assert (verdict.drifted, verdict.columns[0].adjusted_p_value < 0.01) == (False, True)
    assert compare(quiet[:30], days(30, 2, shift=0.15), Drift(psi=0.01), columns=["amount"]).drifted


def test_missing_values_and_new_categories_are_drift() -> None:
    half = [stats(pa.table({"a": [1.0, 2.0] * 500, "c": ["x", "y"] * 500})) for _ in range(4)]
    other = [stats(pa.table({"a": [1.0, None] * 500, "c": ["x", "z"] * 500})) for _ in range(4)]
    assert compare(half, other, Drift()).share == 1.0


def test_empty_halves_and_constant_columns() -> None:
    constant = stats(pa.table({"a": [1.0] * 50, "n": pa.nulls(50, pa.float64())}))
    empty = Stats.empty(pa.schema([("a", pa.float64()), ("n", pa.float64())]))
    assert compare(constant, constant, Drift()).words == "alike"
    assert compare([constant], [empty], Drift()).reason == "too little to compare: a half has no rows"
    assert compare([], [], Drift()).columns == []


def test_an_unknown_column_is_named() -> None:
    one = stats(pa.table({"a": [1.0]}))
    with pytest.raises(RequestError, match="found b"):
        compare(one, one, Drift(columns=["a", "b"]))


def test_columns_of_a_pipeline() -> None:
    columns = {
        "t": {"type": "timestamp", "role": "time"},
        "id": {"type": "int64", "role": "key"},
        "a": {"type": "float64", "role": "numeric"},
        "b": {"type": "string", "role": "categorical"},
        "y": {"type": "int8", "role": "label"},
    }
    source = {"uri": "x", "time": "t"}
    pipeline = Pipeline.model_validate({"name": "p", "source": source, "columns": columns, "clean": {"b": "drop"}})
    assert drift_columns(pipeline) == ["a", "y"]


# Real data


def read(path: Path, columns: Sequence[str], types: dict[str, Any] | None = None) -> pa.Table:
    options = pa.csv.ConvertOptions(include_columns=list(columns), column_types=types, strings_can_be_null=True)
    return pa.csv.read_csv(path, convert_options=options)


@pytest.mark.realdata
def test_taxi_2019_against_2018(real_data: Callable[[str], Path]) -> None:
    """The congestion surcharge began in 2019; what a ride costs before it did not change."""
    names = ["trip_distance", "fare_amount", "passenger_count", "congestion_surcharge", "total_amount"]
    types = dict.fromkeys(names, pa.float64())
    months = [stats(read(path, names, types)) for path in sorted(real_data("taxi_monthly").glob("*.csv.gz"))]
    verdict = compare(months[:12], months[12:], Drift(), runs_per_year=12)
    drifted = [column.column for column in verdict.columns if column.drifted]
    assert drifted == ["congestion_surcharge", "total_amount"]
    assert not compare(months[:6], months[6:12], Drift(), runs_per_year=12).drifted


@pytest.mark.realdata
def test_elec2_prices_drift_and_half_hours_do_not(real_data: Callable[[str], Path]) -> None:
    table = pa.csv.read_csv(real_data("elec2") / "elec.csv")
    weeks = [stats(table.slice(start, 336), "class") for start in range(0, table.num_rows - 335, 336)]
    verdict = compare(weeks[: len(weeks) // 2], weeks[len(weeks) // 2 :], Drift())
    drifted = {column.column for column in verdict.columns if column.drifted}
    assert drifted == {"vicprice", "vicdemand", "transfer", "nswprice"}
    assert verdict.shift == "covariate"


@pytest.mark.realdata
@pytest.mark.parametrize("recent", [30, 7, 1])
def test_fraud_nights_have_no_false_alarm(real_data: Callable[[str], Path], recent: int) -> None:
    """63 nights with a window of 60 days over stable behaviour: at most 4 alarms a year allow for one."""
    nights = fraud_days(real_data("fraud_daily"))
    assert len(nights) == 122
    alarms = 0
    for last in range(60, len(nights) + 1, 3):
        window = nights[last - 60 : last]
        alarms += compare(window[: 60 - recent], window[60 - recent :], Drift()).drifted
    assert alarms == 0


CACHE: dict[Path, list[Stats]] = {}


def fraud_days(folder: Path) -> list[Stats]:
    if folder not in CACHE:
        names = ["CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
        CACHE[folder] = [stats(read(path, names), "TX_FRAUD") for path in sorted(folder.glob("*.csv.gz"))]
    return CACHE[folder]
