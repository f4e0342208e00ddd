"""Row conditions: the one-comparison language of Great Expectations' own ``row_condition`` text.

col("fare") > 0      col("city") == "NYC"      col("city").notNull()
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "notnull"]
_COLUMN = r"""\s*col\(\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)')\s*\)\s*"""
_LITERAL = r"""(?:"(?P<text2>[^"]*)"|'(?P<text1>[^']*)'|(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?))\s*"""
_PATTERN = re.compile(
    _COLUMN + r"(?:\.\s*(?P<notnull>not[nN]ull)\(\s*\)\s*|(?P<operator>==|!=|<=|>=|<|>)\s*" + _LITERAL + ")"
)


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a literal; `value` is None for ``notnull``."""

    column: str
    operator: Operator
    value: str | int | float | None


def parse_condition(text: str) -> Condition | None:
    """The condition that `text` means, None where it means none.

    >>> parse_condition('col("fare") >= 2.5')
    Condition(column='fare', operator='>=', value=2.5)
    >>> parse_condition('fare >= 2.5') is None
    True
    """
    found = _PATTERN.fullmatch(text)
    if not found:
        return None
    column = found["double"] or found["single"]
    if found["notnull"]:
        return Condition(column, "notnull", None)
    number = found["number"]
    value: str | int | float
    if number is None:
        value = found["text2"] if found["text2"] is not None else found["text1"]
    else:
        value = int(number) if re.fullmatch(r"[-+]?\d+", number) else float(number)
    return Condition(column, cast(Operator, found["operator"]), value)
