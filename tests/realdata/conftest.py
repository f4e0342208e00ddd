"""A home and a folder of pipeline files for whole runs; each module has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with `MILLRACE_HOME` and `MILLRACE_PIPELINES` inside."""
    folder = tmp_path_factory.mktemp("realdata")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MILLRACE_HOME", str(folder / "home"))
        patch.setenv("MILLRACE_PIPELINES", str(folder / "pipelines"))
        patch.delenv("MILLRACE_PROFILE", raising=False)
        yield folder
