"""Where a pipeline runs: storage root, runner, registry and home folder, by the name of a profile.

The embedded profile ``local`` needs no server. `MILLRACE_HOME` (default ``.millrace``) holds all its state.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from millrace.errors import ProfileError

Runner = Literal["inline", "local"]


class Profile(BaseModel):
    """Storage root (a folder or URI), mrjob runner, MLflow registry URI, and the home folder for local state."""

    model_config = ConfigDict(frozen=True)

    name: str
    home: Path
    root: str
    runner: Runner = "local"
    registry: str
    storage_options: dict[str, str] = {}
    tasks: int | None = None

    def table_uri(self, pipeline: str, stage: str) -> str:
        """Where the table of a stage is: ``<root>/<pipeline>/<stage>``."""
        return f"{self.root}/{pipeline}/{stage}"


def home() -> Path:
    """`MILLRACE_HOME` as an absolute path."""
    return Path(os.environ.get("MILLRACE_HOME", ".millrace")).absolute()


def pipelines_folder() -> Path:
    """`MILLRACE_PIPELINES` as an absolute path."""
    return Path(os.environ.get("MILLRACE_PIPELINES", "pipelines")).absolute()


def load_profile(name: str | None = None) -> Profile:
    """The profile of this name, or of `MILLRACE_PROFILE`, or ``local``.

    Raises ProfileError for an unknown name.
    """
    name = name or os.environ.get("MILLRACE_PROFILE", "local")
    if name != "local":
        raise ProfileError("unknown profile", expected="local", found=repr(name))
    base = home()
    return Profile(
        name="local",
        home=base,
        root=str(base / "tables"),
        registry=f"sqlite:///{base / 'mlflow.db'}",
    )
