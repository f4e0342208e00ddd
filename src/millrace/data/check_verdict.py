"""The verdict: for each expectation, whether it was met and the figures behind that, as plain JSON.

Figures of merged states flow in. Each `result` has the keys and the meaning of Great Expectations' own result (format
SUMMARY), so that `report/data_docs.py` can make its result objects and pages of it; nothing here imports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from millrace.data.check_counts import Counted
from millrace.data.check_moments import Moments
from millrace.data.check_rows import SAMPLE, RowState
from millrace.data.expectations import Domain, moment
from millrace.errors import CheckFailed
from millrace.spec import Severity


class Outcome(BaseModel):
    """One expectation, judged on all rows. `result` is Great Expectations' result, as plain JSON."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    rule: str
    expect: str
    columns: list[str]
    severity: Severity
    arguments: dict[str, Any]
    success: bool
    result: dict[str, Any]

    @property
    def column(self) -> str | None:
        """Its columns in one text; None for the whole table."""
        return ", ".join(self.columns) or None

    @property
    def observed(self) -> Any:
        """The figure that was compared; None where rows were counted."""
        return self.result.get("observed_value")

    @property
    def element_count(self) -> int | None:
        """Rows judged, missing values included; None where one figure was compared."""
        return self.result.get("element_count")

    @property
    def unexpected_count(self) -> int | None:
        """Rows (or distinct values) not as expected."""
        return self.result.get("unexpected_count")

    @property
    def samples(self) -> list[Any]:
        """Some of the values not as expected, in value order."""
        return [*self.result.get("partial_unexpected_list", []), *self.result.get("partial_missing_list", [])]

    def expected_text(self) -> str:
        """What was asked for, in words."""
        hidden = {"column", "column_A", "column_B", "column_list", "condition_parser"} if self.columns else set()
        words = [f"{name} {value}" for name, value in self.arguments.items() if name not in hidden]
        return ", ".join(words) or self.expect.replace("_", " ")

    def found_text(self) -> str:
        """What was found, in words."""
        if self.element_count is not None:
            share = self.result.get("unexpected_percent") or 0.0
            found = f"{self.unexpected_count} of {self.element_count} rows ({share:.3g} %) not so"
        elif "observed_value" in self.result and self.observed is not None:
            found = f"{self.observed}"
        elif "missing_count" in self.result or self.unexpected_count is not None:
            found = f"{self.unexpected_count or 0} values not in the set, {self.result.get('missing_count', 0)} missing"
        else:
            found = "nothing to compare"
        values = list(dict.fromkeys(map(str, self.samples)))[:5]
        return found + (f", such as {', '.join(values)}" if values else "")


class Verdict(BaseModel):
    """All outcomes, in the order of the pipeline file, over `rows` rows."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    rows: int
    outcomes: list[Outcome]

    @property
    def success(self) -> bool:
        """Whether every expectation was met, whatever its severity."""
        return all(outcome.success for outcome in self.outcomes)

    def unmet(self, *severities: Severity) -> list[Outcome]:
        """Expectations that were not met, of these severities; of any, where none is given."""
        return [each for each in self.outcomes if not each.success and (not severities or each.severity in severities)]

    def raise_failed(self, interval: str | None = None) -> None:
        """Raise CheckFailed, naming them, if expectations with severity ``fail`` were not met."""
        failed = self.unmet("fail")
        if not failed:
            return
        first, others = failed[0], [outcome.rule for outcome in failed[1:]]
        raise CheckFailed(
            f"check failed{f' for {interval}' if interval else ''}, {first.rule}",
            expected=first.expected_text(),
            found=first.found_text(),
            hint=f"also failed: {', '.join(others)}" if others else None,
        )


@dataclass
class Evidence:
    """What is known of an expectation's columns once all states are merged."""

    kind: pa.DataType
    domain: Domain
    columns: list[list[str]] = field(default_factory=list)
    rows: int = 0
    valid: int = 0
    moments: Moments = field(default_factory=Moments)
    low: Any = None
    high: Any = None
    counted: Counted | None = None
    row_state: RowState | None = None
    decode: Callable[[Any], Any] = lambda value: value

    @property
    def counts(self) -> Counted:
        """The value counts, which the expectation asked for."""
        assert self.counted is not None
        return self.counted


Judgement = tuple[bool, dict[str, Any]]
Arguments = Mapping[str, Any]


def plain(value: Any) -> Any:
    """A value as plain JSON: times as ISO 8601 text, nan as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def judge_figures(expect: str, evidence: Evidence, arguments: Arguments) -> Judgement:
    """Success and Great Expectations' result of one expectation."""
    return FIGURES[expect](evidence, arguments)


def row_result(evidence: Evidence, arguments: Arguments, *, missing: bool = True) -> Judgement:
    """Of expectations judged row by row."""
    state = evidence.row_state
    assert state is not None
    return _rows(
        arguments, (state.elements, state.considered, state.unexpected), state.values(evidence.domain), missing=missing
    )


def _rows(
    arguments: Arguments, sizes: tuple[int, int, int], sample: Sequence[tuple[Any, int]], *, missing: bool = True
) -> Judgement:
    elements, considered, unexpected = sizes
    mostly = arguments.get("mostly", 1.0)
    success = not considered or (float(considered) - float(unexpected)) / float(considered) >= mostly
    share = unexpected / considered * 100 if considered else None
    if not elements:
        share = None
    result: dict[str, Any] = {
        "element_count": elements,
        "unexpected_count": unexpected,
        "unexpected_percent": share,
        "partial_unexpected_list": _expand(sample),
        "partial_unexpected_counts": [{"value": plain(value), "count": count} for value, count in sample],
    }
    if missing:
        result |= {
            "missing_count": elements - considered,
            "missing_percent": (elements - considered) / elements * 100 if elements else None,
            "unexpected_percent_total": unexpected / elements * 100 if elements else None,
            "unexpected_percent_nonmissing": share,
        }
    return success, result


def _expand(sample: Sequence[tuple[Any, int]]) -> list[Any]:
    """Each value as often as it occurs, `SAMPLE` in all."""
    expanded: list[Any] = []
    for value, count in sample:
        expanded += [plain(value)] * min(count, SAMPLE - len(expanded))
    return expanded


def _between(value: Any, arguments: Arguments) -> Judgement:
    """A figure inside its limits; a figure that does not exist is never inside."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False, {"observed_value": None}
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if isinstance(value, datetime):
        low, high = moment(low), moment(high)
    above = low is None or (value > low if arguments.get("strict_min") else value >= low)
    below = high is None or (value < high if arguments.get("strict_max") else value <= high)
    return bool(above and below), {"observed_value": plain(value)}


def _unique(evidence: Evidence, arguments: Arguments) -> Judgement:
    unexpected, sample = evidence.counts.repeated(SAMPLE)
    decoded = [(evidence.decode(value), count) for value, count in sample]
    return _rows(arguments, (evidence.rows, evidence.valid, unexpected), decoded)


def _z_scores(evidence: Evidence, arguments: Arguments) -> Judgement:
    """Rows whose |x − mean| / deviation reaches the threshold; none where the deviation is 0 or undefined."""
    center, spread = evidence.moments.mean(), evidence.moments.deviation()
    sizes = (evidence.rows, evidence.valid)
    if not spread or center is None or math.isnan(center):
        return _rows(arguments, (*sizes, 0), [])
    double_sided = arguments["double_sided"]
    threshold = abs(arguments["threshold"]) if double_sided else arguments["threshold"]
    unexpected, sample = evidence.counts.outside(center, spread, threshold, double_sided, SAMPLE)
    return _rows(arguments, (*sizes, unexpected), sample)


def _sum(evidence: Evidence, arguments: Arguments) -> Judgement:
    whole = pa.types.is_integer(evidence.kind)
    return _between(evidence.moments.whole_sum() if whole else evidence.moments.sum(), arguments)


def _quantiles(evidence: Evidence, arguments: Arguments) -> Judgement:
    """Each quantile inside its range, or as near to a limit as a relative 1e-4."""
    wanted = arguments["quantile_ranges"]
    method = arguments.get("allow_relative_error") or "nearest"
    values = evidence.counts.quantiles(wanted["quantiles"], evidence.valid, method)
    details = [_near(value, *limits) for value, limits in zip(values, wanted["value_ranges"], strict=True)]
    observed = {"quantiles": list(wanted["quantiles"]), "values": values}
    return all(details), {"observed_value": observed, "details": {"success_details": details}}


def _near(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    touches = any(bool(np.isclose(np.float64(value), np.float64(limit), rtol=1e-4)) for limit in (least, most))
    return touches or least <= value <= most


def _distinct(evidence: Evidence, arguments: Arguments, *, inside: bool, whole: bool) -> Judgement:
    """Distinct values against a set: none outside (`inside`), none of the set unseen (`whole`)."""
    outside, strange, missing = evidence.counts.against(arguments["value_set"], SAMPLE)
    result: dict[str, Any] = {"observed_value": None}
    if inside:
        result |= {"unexpected_count": outside, "partial_unexpected_list": plain(strange)}
    if whole:
        result |= {"missing_count": len(missing), "partial_missing_list": plain(missing[:SAMPLE])}
    return not (inside and outside) and not (whole and missing), result


def _most_common(evidence: Evidence, arguments: Arguments) -> Judgement:
    """The most common value (any of them with `ties_okay`) in a set; `observed_value` shows the first 20 of a tie."""
    number, inside, first = evidence.counts.most_common(arguments["value_set"], SAMPLE)
    success = inside > 0 if arguments.get("ties_okay") else number == 1 and inside == 1
    return success, {"observed_value": plain(first)}


_SCALAR_NAMES = {"double": "float64", "bool": "bool", "timestamp[us]": "datetime64", "string": "object_"}
_TYPE_NAMES = {
    "double": {"float", "float64"},
    "bool": {"bool"},
    "timestamp[us]": {"datetime64", "datetime64[ns]"},
    "string": {"object"},
    "int64": {"int", "int64"},
}
_DTYPE_NAMES = {
    "double": {"float", "float64"},
    "bool": {"BooleanDtype"},
    "timestamp[us]": {"datetime64[ns]"},
}


def type_fits(kind: pa.DataType, names: Sequence[str], *, listed: bool) -> bool:
    """Whether Great Expectations finds one of these type names in the pandas column of an Arrow type.

    By scalar type, or (`listed`, the type list) by dtype: integers that may be missing are Int64Dtype there.
    """
    name = str(kind)
    fits = _DTYPE_NAMES.get(name, {f"{name.title()}Dtype"}) if listed else _TYPE_NAMES.get(name, {name})
    return not fits.isdisjoint(names)


def _of_type(evidence: Evidence, arguments: Arguments) -> Judgement:
    if evidence.row_state is not None:
        return row_result(evidence, arguments)
    listed = "type_list" in arguments
    names = arguments["type_list"] if listed else [arguments["type_"]]
    observed = _SCALAR_NAMES.get(str(evidence.kind), str(evidence.kind))
    return type_fits(evidence.kind, names, listed=listed), {"observed_value": observed}


def _worst(evidence: Evidence, judge: Callable[[list[str]], Judgement]) -> Judgement:
    """Files with other columns than the rest: the first that fails decides."""
    judgements = [judge(names) for names in evidence.columns]
    return next((each for each in judgements if not each[0]), judgements[0])


def _ordered(names: list[str], arguments: Arguments) -> Judgement:
    wanted = arguments["column_list"]
    result: dict[str, Any] = {"observed_value": names}
    if names == wanted:
        return True, result
    places = range(max(len(names), len(wanted)))
    pairs = [(place, *(each[place] if place < len(each) else None for each in (wanted, names))) for place in places]
    mismatched = [
        {"Expected Column Position": place, "Expected": one, "Found": other}
        for place, one, other in pairs
        if one != other
    ]
    return False, result | {"details": {"mismatched": mismatched}}


def _same_set(names: list[str], arguments: Arguments) -> Judgement:
    wanted = set(arguments["column_set"])
    unexpected, missing = sorted(set(names) - wanted), sorted(wanted - set(names))
    result: dict[str, Any] = {"observed_value": sorted(names)}
    if not unexpected and not missing:
        return True, result
    differences = {"unexpected": unexpected, "missing": missing}
    mismatched = {name: values for name, values in differences.items() if values}
    exact = arguments.get("exact_match", True)
    return not exact and not missing, result | {"details": {"mismatched": mismatched}}


def _exists(names: list[str], arguments: Arguments) -> Judgement:
    place, name = arguments.get("column_index"), arguments["column"]
    return (place < len(names) and names[place] == name if place else name in names), {}


FIGURES: dict[str, Callable[[Evidence, Arguments], Judgement]] = {
    "column_values_to_not_be_null": lambda evidence, a: row_result(evidence, a, missing=False),
    "column_values_to_be_null": lambda evidence, a: row_result(evidence, a, missing=False),
    "column_values_to_be_unique": _unique,
    "compound_columns_to_be_unique": _unique,
    "column_value_z_scores_to_be_less_than": _z_scores,
    "column_values_to_be_of_type": _of_type,
    "column_values_to_be_in_type_list": _of_type,
    "column_min_to_be_between": lambda evidence, a: _between(evidence.low, a),
    "column_max_to_be_between": lambda evidence, a: _between(evidence.high, a),
    "column_mean_to_be_between": lambda evidence, a: _between(evidence.moments.mean(), a),
    "column_median_to_be_between": lambda evidence, a: _between(evidence.counts.median(evidence.valid), a),
    "column_stdev_to_be_between": lambda evidence, a: _between(evidence.moments.deviation(), a),
    "column_sum_to_be_between": _sum,
    "column_unique_value_count_to_be_between": lambda evidence, a: _between(evidence.counts.distinct(), a),
    "column_proportion_of_unique_values_to_be_between": lambda evidence, a: _between(
        evidence.counts.distinct() / evidence.valid if evidence.valid else 0, a
    ),
    "column_proportion_of_non_null_values_to_be_between": lambda evidence, a: _between(
        evidence.valid / evidence.rows if evidence.rows else 0, a
    ),
    "column_quantile_values_to_be_between": _quantiles,
    "column_distinct_values_to_be_in_set": lambda evidence, a: _distinct(evidence, a, inside=True, whole=False),
    "column_distinct_values_to_equal_set": lambda evidence, a: _distinct(evidence, a, inside=True, whole=True),
    "column_distinct_values_to_contain_set": lambda evidence, a: _distinct(evidence, a, inside=False, whole=True),
    "column_most_common_value_to_be_in_set": _most_common,
    "table_row_count_to_be_between": lambda evidence, a: _between(evidence.rows, a),
    "table_row_count_to_equal": lambda evidence, a: (evidence.rows == a["value"], {"observed_value": evidence.rows}),
    "table_column_count_to_be_between": lambda evidence, a: _worst(evidence, lambda names: _between(len(names), a)),
    "table_column_count_to_equal": lambda evidence, a: _worst(
        evidence, lambda names: (len(names) == a["value"], {"observed_value": len(names)})
    ),
    "table_columns_to_match_ordered_list": lambda evidence, a: _worst(evidence, lambda names: _ordered(names, a)),
    "table_columns_to_match_set": lambda evidence, a: _worst(evidence, lambda names: _same_set(names, a)),
    "column_to_exist": lambda evidence, a: _worst(evidence, lambda names: _exists(names, a)),
}
