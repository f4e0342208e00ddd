"""The catalogue of expectations: which Great Expectations types are offered, on which columns, with which arguments.

A pipeline file's `check` entries flow in and mistakes flow out, while nothing heavy is imported. Names are those of
Great Expectations 1.24 without ``expect_``. What an expectation means on a column is fixed by the pandas column that
the verdict is compared with (`check.to_pandas`): integers are pandas' ``Int64`` family, booleans ``boolean``, strings
``object``, floats ``float64``, dates and timestamps ``datetime64[ns]``.

Left out on purpose: increasing and decreasing (row order means nothing across splits), dateutil-parseable (depends on
today's date), SQL and Spark types, JSON schema, and the hypothesis tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Literal

from millrace.data.check_condition import parse_condition
from millrace.spec import Column, Expectation

Domain = Literal["table", "column", "pair", "multicolumn"]
Level = Literal["row", "all_rows", "aggregate"]

NUMBER = frozenset({"int8", "int16", "int32", "int64", "float32", "float64"})
INTEGER = frozenset({"int8", "int16", "int32", "int64"})
TIME = frozenset({"timestamp", "date"})
TEXT = frozenset({"string"}) | INTEGER
ANY = NUMBER | TIME | {"string", "bool"}

TYPE_NAMES = (
    "bool", "datetime64", "datetime64[ns]", "float", "float64", "int", "int8", "int16", "int32", "int64", "object",
    "str", "BooleanDtype", "Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype",
)  # fmt: skip
INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@dataclass(frozen=True)
class Kind:
    """One type of expectation.

    `level`: ``row`` is judged row by row, so that its rows can be quarantined; ``all_rows`` counts rows too, but only
    once all rows are known (uniqueness, z-scores); ``aggregate`` compares one figure. `types` are the declared column
    types that it is offered on. `required` and `optional` map an argument to the word for its form (see `FORMS`);
    of `either`, at least one must be given.
    """

    domain: Domain
    level: Level
    types: frozenset[str]
    required: Mapping[str, str]
    optional: Mapping[str, str]
    either: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """All arguments that it takes."""
        return [*self.domain_arguments, *self.required, *self.optional]

    @property
    def domain_arguments(self) -> tuple[str, ...]:
        """The arguments that name its columns."""
        return {"table": (), "column": ("column",), "pair": ("column_A", "column_B"), "multicolumn": ("column_list",)}[
            self.domain
        ]


_MOSTLY = {"mostly": "fraction", "row_condition": "condition", "condition_parser": "parser"}
_WHERE = {"row_condition": "condition", "condition_parser": "parser"}
_LIMITS = {"min_value": "limit", "max_value": "limit", "strict_min": "flag", "strict_max": "flag"}
_COUNTS = {"min_value": "count", "max_value": "count", "strict_min": "flag", "strict_max": "flag"}
_BOTH = ("min_value", "max_value")


def _row(types: frozenset[str], required: Mapping[str, str] | None = None, **optional: str) -> Kind:
    return Kind("column", "row", types, required or {}, optional | _MOSTLY)


def _between(types: frozenset[str], limits: Mapping[str, str] = _LIMITS) -> Kind:
    return Kind("column", "aggregate", types, {}, {**limits, **_WHERE}, _BOTH)


def _set(**optional: str) -> Kind:
    return Kind("column", "aggregate", ANY, {"value_set": "values"}, optional | _WHERE)


def _pair(types: frozenset[str], required: Mapping[str, str] | None = None, **optional: str) -> Kind:
    return Kind("pair", "row", types, required or {}, {**optional, "ignore_row_if": "pair_ignore", **_MOSTLY})


def _multi(level: Level, types: frozenset[str], required: Mapping[str, str] | None = None) -> Kind:
    return Kind("multicolumn", level, types, required or {}, {"ignore_row_if": "multi_ignore", **_MOSTLY})


def _table(required: Mapping[str, str], optional: Mapping[str, str] | None = None, either: Sequence[str] = ()) -> Kind:
    return Kind("table", "aggregate", ANY, required, optional or {}, tuple(either))


EXPECTATIONS: dict[str, Kind] = {
    # rows of one column
    "column_values_to_not_be_null": _row(ANY),
    "column_values_to_be_null": _row(ANY),
    "column_values_to_be_in_set": _row(ANY, {"value_set": "values"}),
    "column_values_to_not_be_in_set": _row(ANY, {"value_set": "values"}),
    "column_values_to_be_between": Kind("column", "row", NUMBER | TIME, {}, {**_LIMITS, **_MOSTLY}, _BOTH),
    "column_value_lengths_to_be_between": Kind("column", "row", TEXT, {}, {**_COUNTS, **_MOSTLY}, _BOTH),
    "column_value_lengths_to_equal": _row(TEXT, {"value": "count"}),
    "column_values_to_match_regex": _row(TEXT, {"regex": "regex"}),
    "column_values_to_not_match_regex": _row(TEXT, {"regex": "regex"}),
    "column_values_to_match_regex_list": _row(TEXT, {"regex_list": "regexes"}, match_on="match_on"),
    "column_values_to_not_match_regex_list": _row(TEXT, {"regex_list": "regexes"}),
    "column_values_to_match_strftime_format": _row(frozenset({"string"}), {"strftime_format": "strftime"}),
    "column_values_to_be_json_parseable": _row(frozenset({"string"})),
    # rows of one column, once all are known
    "column_values_to_be_unique": Kind("column", "all_rows", ANY, {}, _MOSTLY),
    "column_value_z_scores_to_be_less_than": Kind(
        "column", "all_rows", NUMBER, {"threshold": "number", "double_sided": "flag"}, _MOSTLY
    ),
    # figures of one column
    "column_values_to_be_of_type": Kind("column", "aggregate", ANY, {"type_": "type"}, _MOSTLY),
    "column_values_to_be_in_type_list": Kind("column", "aggregate", ANY, {"type_list": "types"}, _MOSTLY),
    "column_min_to_be_between": _between(NUMBER | TIME),
    "column_max_to_be_between": _between(NUMBER | TIME),
    "column_mean_to_be_between": _between(NUMBER),
    "column_median_to_be_between": _between(NUMBER),
    "column_stdev_to_be_between": _between(NUMBER),
    "column_sum_to_be_between": _between(NUMBER),
    "column_unique_value_count_to_be_between": _between(ANY, _COUNTS),
    "column_proportion_of_unique_values_to_be_between": _between(ANY),
    "column_proportion_of_non_null_values_to_be_between": _between(ANY),
    "column_quantile_values_to_be_between": Kind(
        "column",
        "aggregate",
        NUMBER,
        {"quantile_ranges": "quantile_ranges"},
        {"allow_relative_error": "interpolation", **_WHERE},
    ),
    "column_distinct_values_to_be_in_set": _set(),
    "column_distinct_values_to_equal_set": _set(),
    "column_distinct_values_to_contain_set": _set(),
    "column_most_common_value_to_be_in_set": _set(ties_okay="flag"),
    # pairs of columns
    "column_pair_values_to_be_equal": _pair(ANY),
    "column_pair_values_a_to_be_greater_than_b": _pair(NUMBER | TIME, or_equal="flag"),
    "column_pair_values_to_be_in_set": _pair(ANY, {"value_pairs_set": "pairs"}),
    # several columns
    "multicolumn_sum_to_equal": _multi("row", NUMBER, {"sum_total": "number"}),
    "multicolumn_values_to_be_equal": _multi("row", ANY),
    "select_column_values_to_be_unique_within_record": _multi("row", ANY),
    "compound_columns_to_be_unique": _multi("all_rows", ANY),
    # the table
    "table_row_count_to_be_between": _table({}, {**_COUNTS, **_WHERE}, _BOTH),
    "table_row_count_to_equal": _table({"value": "count"}, _WHERE),
    "table_column_count_to_be_between": _table({}, _COUNTS, _BOTH),
    "table_column_count_to_equal": _table({"value": "count"}),
    "table_columns_to_match_ordered_list": _table({"column_list": "names"}),
    "table_columns_to_match_set": _table({"column_set": "names"}, {"exact_match": "flag"}),
    "column_to_exist": _table({"column": "name"}, {"column_index": "count"}),
}


def columns_of(expectation: Expectation) -> list[str]:
    """The columns that an expectation reads, in order; none for the whole table.

    >>> columns_of(Expectation(expect="column_pair_values_to_be_equal", column_A="a", column_B="b"))
    ['a', 'b']
    """
    kind = EXPECTATIONS[expectation.expect]
    found: list[str] = []
    for name in kind.domain_arguments:
        value = expectation.arguments.get(name)
        found += value if isinstance(value, list) else [str(value)]
    return found


def rule_name(expectation: Expectation) -> str:
    """How reports and quarantined rows name an expectation.

    >>> rule_name(Expectation(expect="column_values_to_not_be_null", column="fare"))
    'column_values_to_not_be_null(fare)'
    """
    columns = columns_of(expectation) or [
        str(expectation.arguments[name]) for name in ["column"] if name in expectation.arguments
    ]
    return f"{expectation.expect}({', '.join(columns)})" if columns else expectation.expect


def validate_expectation(expectation: Expectation, columns: Sequence[str] | Mapping[str, Column]) -> list[str]:
    """Every mistake in one expectation, as sentences ``expected …, found …`` with the nearest right name; [] if none.

    `columns` are the pipeline's columns; with their declarations (a mapping) the types are checked too.

    >>> validate_expectation(Expectation(expect="column_values_to_be_nul", column="a"), ["a"])
    ["expected an expectation, found 'column_values_to_be_nul'; did you mean 'column_values_to_be_null'?"]
    >>> validate_expectation(Expectation(expect="column_mean_to_be_between", column="fair", min_value=0), ["fare"])
    ["expected column to be one of the columns, found 'fair'; did you mean 'fare'?"]
    """
    kind = EXPECTATIONS.get(expectation.expect)
    if kind is None:
        name = expectation.expect.removeprefix("expect_")
        return [f"expected an expectation, found {expectation.expect!r}{_nearest(name, list(EXPECTATIONS))}"]
    given = expectation.arguments
    mistakes = [
        f"expected an argument of {expectation.expect}, found {name!r}{_nearest(name, kind.arguments)}"
        for name in given
        if name not in kind.arguments
    ]
    needed = (*kind.domain_arguments, *kind.required)
    mistakes += [f"expected the argument {name!r}, found none" for name in needed if given.get(name) is None]
    if kind.either and all(given.get(name) is None for name in kind.either):
        mistakes.append(f"expected at least one of {' and '.join(kind.either)}, found none")
    for name, form in {**kind.required, **kind.optional}.items():
        if given.get(name) is not None:
            mistakes += [_at(name, words) for words in FORMS[form](given[name])]
    mistakes += _column_mistakes(expectation, kind, columns)
    if expectation.severity == "quarantine" and kind.level != "row":
        mistakes.append(
            f"expected severity to be fail or warn, because {expectation.expect} does not judge single rows, "
            "found 'quarantine'"
        )
    return mistakes


def _column_mistakes(expectation: Expectation, kind: Kind, columns: Sequence[str] | Mapping[str, Column]) -> list[str]:
    """Mistakes in names and types of the columns, and in values and limits that don't fit the type."""
    mistakes: list[str] = []
    given = expectation.arguments
    names: list[str] = []
    for argument in kind.domain_arguments:
        value = given.get(argument)
        if argument == "column_list":
            mistakes += [_at(argument, words) for words in _names(value)] if value is not None else []
        elif value is not None and not isinstance(value, str):
            mistakes.append(f"expected {argument} to be the name of a column, found {value!r}")
        chosen = value if isinstance(value, list) else [value]
        for name in chosen:
            if isinstance(name, str) and name not in columns:
                mistakes.append(
                    f"expected {argument} to be one of the columns, found {name!r}{_nearest(name, columns)}"
                )
            elif isinstance(name, str):
                names.append(name)
    condition = given.get("row_condition")
    parsed = parse_condition(condition) if isinstance(condition, str) else None
    if parsed is not None and parsed.column not in columns:
        hint = _nearest(parsed.column, columns)
        mistakes.append(f"expected row_condition to name one of the columns, found {parsed.column!r}{hint}")
    if not isinstance(columns, Mapping):
        return mistakes
    types = [columns[name].type for name in names]
    for name, type_ in zip(names, types, strict=True):
        if type_ not in kind.types:
            allowed = ", ".join(sorted(kind.types))
            mistakes.append(f"expected a column of type {allowed} for {expectation.expect}, found {name!r} of {type_}")
    if kind.domain == "pair" and len(types) == 2 and "value_pairs_set" not in kind.required:
        groups = [_group(type_) for type_ in types]
        if groups[0] != groups[1]:
            mistakes.append(f"expected two columns of like types, found {names[0]!r} of {types[0]} and {types[1]}")
    if kind.domain == "multicolumn" and "unique" not in expectation.expect and len({_group(t) for t in types}) > 1:
        mistakes.append(f"expected columns of like types, found {', '.join(types)}")
    if kind.domain == "column" and types:
        mistakes += _value_mistakes(given, types[0], kind)
    if parsed is not None and parsed.value is not None and parsed.column in columns:
        mistakes += [_at("row_condition", words) for words in _misfits([parsed.value], columns[parsed.column].type)]
    return mistakes


def _value_mistakes(given: Mapping[str, Any], type_: str, kind: Kind) -> list[str]:
    mistakes: list[str] = []
    if isinstance(given.get("value_set"), list):
        mistakes += [_at("value_set", words) for words in _misfits(given["value_set"], type_)]
    if kind.types == NUMBER | TIME and type_ in kind.types:
        limits = [given[name] for name in _BOTH if given.get(name) is not None]
        mistakes += [_at("limits", words) for words in _misfits(limits, type_)]
    if type_ in INTEGER | {"bool"} and isinstance(given.get("type_list"), list):
        wanted = "BooleanDtype" if type_ == "bool" else f"{type_.title()}Dtype"
        if type_ in given["type_list"] and wanted not in given["type_list"]:
            mistakes.append(
                f"expected type_list to name {wanted} (pandas' {type_} that may be missing), found {type_!r}"
            )
    return mistakes


def _group(type_: str) -> str:
    return "number" if type_ in NUMBER else "time" if type_ in TIME else type_


def _misfits(values: Sequence[object], type_: str) -> list[str]:
    group = _group(type_)
    fits: Callable[[object], bool] = {
        "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "time": lambda value: moment(value) is not None,
        "bool": lambda value: isinstance(value, bool),
        "string": lambda value: isinstance(value, str),
    }[group]
    word = {"number": "numbers", "time": "ISO 8601 dates or times", "bool": "true or false", "string": "text"}[group]
    wrong = [value for value in values if not fits(value)]
    return [f"expected {word} for a column of type {type_}, found {wrong[0]!r}"] if wrong else []


def moment(value: object) -> datetime | None:
    """A date, a time or its ISO 8601 text as a naive UTC datetime; None where it is none of these.

    >>> moment("2018-04-01"), moment(5)
    (datetime.datetime(2018, 4, 1, 0, 0), None)
    """
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is None else parsed.astimezone(UTC).replace(tzinfo=None)


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def _is_number(value: object) -> bool:
    fits = isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63)
    return fits and not isinstance(value, bool) and value == value


def _at(argument: str, words: str) -> str:
    return words.replace("expected ", f"expected {argument} to be ", 1)


def _form(words: str, fits: Callable[[Any], object]) -> Callable[[Any], list[str]]:
    return lambda value: [] if fits(value) else [f"expected {words}, found {value!r}"]


def _compiles(pattern: object) -> bool:
    try:
        re.compile(pattern)  # type: ignore[call-overload]
    except (re.error, TypeError):
        return False
    return True


def _is_format(text: object) -> bool:
    """Both prints and parses: ``%D`` for one only prints."""
    try:
        datetime.strptime(datetime(2000, 2, 29, 1, 2, 3).strftime(str(text)), str(text))
    except ValueError:
        return False
    return isinstance(text, str)


def _is_ranges(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"quantiles", "value_ranges"}:
        return False
    quantiles, ranges = value["quantiles"], value["value_ranges"]
    return (
        isinstance(quantiles, list)
        and isinstance(ranges, list)
        and len(quantiles) == len(ranges) > 0
        and all(_is_number(quantile) and 0 <= quantile <= 1 for quantile in quantiles)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in ranges)
        and all(limit is None or _is_number(limit) for pair in ranges for limit in pair)
    )


def _types(value: object) -> list[str]:
    names = value if isinstance(value, list) else [value]
    return [
        f"expected a type, one of {', '.join(TYPE_NAMES)}, found {name!r}{_nearest(str(name), TYPE_NAMES)}"
        for name in names
        if name not in TYPE_NAMES
    ]


_PAIR_IGNORE = ("both_values_are_missing", "either_value_is_missing", "neither")
_MULTI_IGNORE = ("all_values_are_missing", "any_value_is_missing", "never")
_names = _form(
    "a list of names", lambda value: isinstance(value, list) and value and all(isinstance(one, str) for one in value)
)

FORMS: dict[str, Callable[[Any], list[str]]] = {
    "fraction": _form("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "number": _form("a number", _is_number),
    "limit": _form("a number, date or time", lambda value: _is_number(value) or moment(value) is not None),
    "count": _form("a whole number from 0", lambda value: _is_number(value) and isinstance(value, int) and value >= 0),
    "flag": _form("true or false", lambda value: isinstance(value, bool)),
    "values": _form("a list of values", lambda value: isinstance(value, list) and bool(value)),
    "name": _form("a name", lambda value: isinstance(value, str)),
    "names": _names,
    "regex": _form("a regular expression", _compiles),
    "regexes": _form(
        "a list of regular expressions", lambda value: isinstance(value, list) and value and all(map(_compiles, value))
    ),
    "strftime": _form("a strftime format such as %Y-%m-%d", _is_format),
    "match_on": _form("any or all", lambda value: value in ("any", "all")),
    "pairs": _form(
        "a list of pairs",
        lambda value: isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value),
    ),
    "pair_ignore": _form(f"one of {', '.join(_PAIR_IGNORE)}", lambda value: value in _PAIR_IGNORE),
    "multi_ignore": _form(f"one of {', '.join(_MULTI_IGNORE)}", lambda value: value in _MULTI_IGNORE),
    "interpolation": _form(f"one of {', '.join(INTERPOLATIONS)}", lambda value: not value or value in INTERPOLATIONS),
    "quantile_ranges": _form("{quantiles: [0.5], value_ranges: [[low, high]]}", _is_ranges),
    "type": _types,
    "types": _types,
    "condition": _form(
        'a condition such as col("fare") > 0 or col("city").notNull()',
        lambda value: isinstance(value, str) and parse_condition(value) is not None,
    ),
    "parser": _form("great_expectations", lambda value: value == "great_expectations"),
}
