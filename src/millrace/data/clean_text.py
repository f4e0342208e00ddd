"""Text before its type is read: trimmed, its case made one, mapped, spelled as an allowed value, its unit removed.

Every rule but trimming works on the distinct values of a batch, so its cost doesn't grow with the rows. A value that a
rule may write (the target of a map, an allowed spelling) is left alone by the rules before it: ``New York`` isn't made
lower case on the way to a map from ``nyc`` to ``New York``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, null_scalar, scalar, text_array
from millrace.data import numeric
from millrace.spec import CleanRule, Column, Spelling

CASES: dict[str, Callable[[pa.Array], pa.Array]] = {
    "lower": pc.utf8_lower,
    "upper": pc.utf8_upper,
    "title": pc.utf8_title,
}
CELLS = 1 << 22  # at most so many edit distances are held at a time

Step = tuple[str, Callable[[pa.Array], pa.Array]]


def steps(column: Column, rule: CleanRule) -> list[Step]:
    """The text rules of a column after trimming, in their order: (name, distinct values → new values)."""
    result: list[Step] = []
    if rule.case:
        result.append(("case", partial(_change_case, case=rule.case, settled=sorted(_settled(rule)))))
    if rule.map:
        result.append(("map", partial(map_values, mapping=rule.map)))
    if rule.spelling and rule.spelling.values and column.type == "string":
        result.append(("spelling", partial(spell, allowed=rule.spelling.values, distance=rule.spelling.distance)))
    if rule.unit:
        result.append(("unit", partial(apply_unit, units=rule.unit)))
    return result


def prepare(values: pa.Array, column: Column, rule: CleanRule, null_values: Sequence[str] | None) -> pa.Array:
    """Raw text as a check sees it: trimmed and, where the column isn't a string, with all that makes it readable.

    Without `null_values`, the text is known to be trimmed.
    """
    if null_values is not None and (rule.trim or column.type != "string"):
        values = trim(values, null_values)
    return values if column.type == "string" else on_distinct(values, [step for _, step in steps(column, rule)])


def on_distinct(values: pa.Array, functions: Iterable[Callable[[pa.Array], pa.Array]]) -> pa.Array:
    """Functions of single values, applied to the distinct values of an array."""
    functions = list(functions)
    if not functions:
        return values
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.string())
    for function in functions:
        distinct = function(distinct)
    return distinct.take(encoded.indices)


def trim(values: pa.Array, null_values: Sequence[str]) -> pa.Array:
    """Text without white space at either end; what becomes a null word by that becomes null.

    >>> trim(pa.array([" a ", " ", "b"]), [""]).to_pylist()
    ['a', None, 'b']
    """
    if pa.types.is_dictionary(values.type):
        return trim(values.dictionary, null_values).take(values.indices)
    trimmed = pc.utf8_trim_whitespace(values)
    if pc.sum(pc.binary_length(trimmed)).equals(pc.sum(pc.binary_length(values))):
        return values
    nulls = pc.is_in(trimmed, value_set=text_array(null_values).cast(trimmed.type))
    return pc.if_else(pc.and_(nulls, pc.not_equal(trimmed, values)), null_scalar(trimmed.type), trimmed)


def map_values(values: pa.Array, mapping: Mapping[str, str | None]) -> pa.Array:
    """Text with some values replaced; null in the mapping makes a cell null.

    >>> map_values(pa.array(["nyc", "?", "Rome"]), {"nyc": "New York", "?": None}).to_pylist()
    ['New York', None, 'Rome']
    """
    place = pc.index_in(values, value_set=text_array(mapping))
    return pc.if_else(pc.is_valid(place), text_array(mapping.values()).take(place), values)


def spell(values: pa.Array, allowed: Sequence[str], distance: int) -> pa.Array:
    """Text as the one nearest allowed value, where that is within `distance` edits ignoring case and spaces.

    An edit inserts, deletes or replaces a character or swaps two neighbours (optimal string alignment distance). A
    value as near to two allowed values is left as it is: no guess is better than a wrong one.

    >>> spell(pa.array(["newyork", "Rmoe", "Bonn", "Lima"]), ["New York", "Rome", "Lima"], 1).to_pylist()
    ['New York', 'Rome', 'Bonn', 'Lima']
    """
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    unknown = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=text_array(allowed))))
    if not pc.any(unknown).as_py():
        return values
    texts, choices = _loose(values.filter(unknown)).to_pylist(), _loose(text_array(allowed)).to_pylist()
    nearest = np.full(len(texts), -1)
    rows = max(1, CELLS // len(choices))
    for start in range(0, len(texts), rows):
        block = cdist(texts[start : start + rows], choices, scorer=OSA.distance, score_cutoff=distance, dtype=np.uint16)
        best = block.min(axis=1)
        alone = (best <= distance) & ((block == best[:, None]).sum(axis=1) == 1)
        nearest[start : start + rows] = np.where(alone, block.argmin(axis=1), -1)
    place = array_of(nearest)
    found = text_array(allowed).take(pc.if_else(pc.equal(place, scalar(-1)), null_scalar(place.type), place))
    return pc.replace_with_mask(values, unknown, pc.coalesce(found, values.filter(unknown)))


def frequent_spellings(counts: Mapping[str, int], rule: Spelling) -> list[str]:
    """The right spellings among values and their counts, by the rule's `at_least`, `times` and `distance`; sorted.

    >>> frequent_spellings({"al": 900, "ak": 100, "xl": 20, "tx": 3}, Spelling(at_least=10, times=10))
    ['ak', 'al']
    """
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    frequent = sorted(text for text, count in counts.items() if count >= rule.at_least)
    if not frequent:
        return []
    loose = _loose(text_array(frequent)).to_pylist()
    near = cdist(loose, loose, scorer=OSA.distance, score_cutoff=rule.distance, dtype=np.uint16) <= rule.distance
    number = np.array([counts[text] for text in frequent])
    outdone = np.any(near & (number[None, :] >= rule.times * number[:, None]), axis=1)
    return [frequent[place] for place in np.flatnonzero(~outdone).tolist()]


def apply_unit(values: pa.Array, units: Mapping[str, float]) -> pa.Array:
    """Numbers with a unit behind them as plain numbers in the one unit of the column; others are left as they are.

    `units` maps a suffix (compared without case) to its factor. A number without suffix is already in the unit.

    >>> apply_unit(pa.array(["10 lb", "2kg", "3", "x lb"]), {"kg": 1, "lb": 0.4536}).to_pylist()
    ['4.536', '2', '3', 'x lb']
    """
    result, lower = values, pc.utf8_lower(values)
    for suffix, factor in sorted(units.items(), key=lambda item: len(item[0])):  # the longest suffix has the last word
        fits = pc.ends_with(lower, pattern=suffix.lower())
        number = pc.utf8_trim_whitespace(
            pc.if_else(fits, pc.utf8_slice_codeunits(values, 0, -len(suffix)), null_scalar(pa.string()))
        )
        parsed = numeric.parse(number, pa.float64())
        if factor == 1:  # the text itself, so that an integer stays one
            scaled = pc.if_else(pc.is_valid(parsed), number, null_scalar(pa.string()))
        else:
            scaled = pc.multiply(parsed, scalar(float(factor))).cast(pa.string())
        result = pc.coalesce(scaled, result)
    return result


def _settled(rule: CleanRule) -> set[str]:
    """Values that a map or spelling may write and no map replaces: they are clean already."""
    targets = {target for target in (rule.map or {}).values() if target is not None}
    return (targets | set((rule.spelling and rule.spelling.values) or [])) - set(rule.map or {})


def _change_case(values: pa.Array, case: str, settled: Sequence[str]) -> pa.Array:
    changed = CASES[case](values)
    return pc.if_else(pc.is_in(values, value_set=text_array(settled)), values, changed) if settled else changed


def _loose(values: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(pc.utf8_lower(values), r"\s+", "")
