"""The project folder of each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from road import Road


@pytest.fixture
def road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_TRACEBACK", raising=False)
    return Road(tmp_path)
