"""Shared fixtures: where the real data is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["tests.embedded_airflow", "tests.services_fixture"]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The path of a folder of real data; skips with a reason where it is absent, fails with CI=true."""

    def find(name: str) -> Path:
        base = Path(os.environ.get("MILLRACE_REAL_DATA", ROOT / "../shared/data")).resolve()
        path = base / name
        if not path.exists():
            reason = f"no real data at {base}: set MILLRACE_REAL_DATA"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, named by `MILLRACE_CHROMIUM` or installed; skips without one, fails with CI=true."""
    path = os.environ.get("MILLRACE_CHROMIUM") or shutil.which("chromium") or ""
    if not path:
        reason = "no chromium: install it, or name it in MILLRACE_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
