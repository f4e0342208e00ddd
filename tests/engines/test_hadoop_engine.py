"""Hadoop writes the tables that the inline runner writes, on every store that it works with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from engine_matrix import COMBINATIONS


@pytest.mark.parametrize(
    "settings", [pair for pair in COMBINATIONS if pair[0] == "hadoop"], indirect=True, ids="-".join
)
def test_tables_are_the_same(
    settings: dict[str, Any], night: Callable[..., dict[str, Any]], reference: dict[str, Any]
) -> None:
    found = night(settings)
    for name, expected in reference.items():
        assert found[name] == expected, name
