"""Who scores: a registry and a pipeline's name in; the champion's version and the folder to score with out.

Where the registry is an SQLite file, as on one machine, it is read as it lies: importing MLflow takes longer than
scoring a million rows. Any other registry is asked through MLflow, and so is a file that doesn't tell.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from millrace.model.registry import CHAMPION, Registry, scorer_of

SQLITE = "sqlite:///"
QUERY = """
SELECT version.version, version.source
FROM registered_model_aliases AS alias
JOIN model_versions AS version USING (workspace, name, version)
WHERE alias.workspace = 'default' AND alias.name = ? AND alias.alias = ? AND version.current_stage <> 'Deleted_Internal'
"""


def find_champion(uri: str, artifacts: Path | str, name: str) -> tuple[int, str] | None:
    """The version of the model with the alias `champion`, and its folder (see `Registry.scoring_folder`).

    None before the first promotion. Raises ServiceError where the registry doesn't answer.
    """
    found = _in_file(Path(uri.removeprefix(SQLITE)), name) if uri.startswith(SQLITE) else None
    if found is not None:
        version, folder = found
        return version, scorer_of(folder)
    registry = Registry(uri, artifacts)
    champion = registry.champion(name)
    return None if champion is None else (champion, registry.scoring_folder(name, champion))


def _in_file(path: Path, name: str) -> tuple[int, str] | None:
    """Version and source, as MLflow 3 stores them; None where there is no file, no champion, or another layout."""
    if not path.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            row = file.execute(QUERY, (name, CHAMPION)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else (int(row[0]), str(row[1]))
