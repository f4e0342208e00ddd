"""The local runner writes the tables that the inline runner writes, on every store that it works with."""

from __future__ import annotations

from typing import Any

import pytest
from engine_matrix import COMBINATIONS


@pytest.mark.parametrize("settings", [pair for pair in COMBINATIONS if pair[0] == "local"], indirect=True, ids="-".join)
def test_tables_are_the_same(differing: dict[str, Any]) -> None:
    assert differing == {}
