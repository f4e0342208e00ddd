"""Who scores: a registry and a pipeline's name in; the champion's version and the folder to score with out.

`champion_facts` tells what people want to know of it.

Where the registry is an SQLite file, as on one machine, it is read as it lies: importing MLflow takes longer than
scoring a million rows. Any other registry is asked through MLflow, and so is a file that doesn't tell.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from pathlib import Path

from millrace.model.registry import CHAMPION, HISTORY, Registry, Version, plain, scorer_of

SQLITE = "sqlite:///"
QUERY = """
SELECT version.version, version.source, version.run_id
FROM registered_model_aliases AS alias
JOIN model_versions AS version USING (workspace, name, version)
WHERE alias.workspace = 'default' AND alias.name = ? AND alias.alias = ? AND version.current_stage <> 'Deleted_Internal'
"""

VERSION_TAGS = "SELECT key, value FROM model_version_tags WHERE workspace = 'default' AND name = ? AND version = ?"
MODEL_TAG = "SELECT value FROM registered_model_tags WHERE workspace = 'default' AND name = ? AND key = ?"
ALIASES = """
SELECT alias FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND version = ? ORDER BY alias
"""


def find_champion(uri: str, artifacts: Path | str, name: str) -> tuple[int, str] | None:
    """The version of the model with the alias `champion`, and its folder (see `Registry.scoring_folder`).

    None before the first promotion. Raises ServiceError where the registry doesn't answer.
    """
    facts = champion_facts(uri, artifacts, name)
    return None if facts is None else (facts[0].version, scorer_of(facts[0].folder))


def champion_facts(uri: str, artifacts: Path | str, name: str) -> tuple[Version, list[int]] | None:
    """The champion's version, and the numbers of former champions, the latest last; None before the first promotion.

    Raises ServiceError where the registry doesn't answer.
    """
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        if not path.is_file():
            return None
        address = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as file:
            return _facts(file, name)
    registry = Registry(uri, artifacts)
    champion = registry.champion(name)
    return None if champion is None else (registry.version(name, champion), registry.history(name))


def _facts(file: sqlite3.Connection, name: str) -> tuple[Version, list[int]] | None:
    """As `champion_facts`, from a file. Raises sqlite3.Error where it has another layout than MLflow 3."""
    row = file.execute(QUERY, (name, CHAMPION)).fetchone()
    if row is None:
        return None
    version, source, run = row
    tags = dict(file.execute(VERSION_TAGS, (name, version)))
    figures = file.execute("SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ?", (run,))
    metrics = {key: math.nan if nan else float(value) for key, value, nan in figures}
    history = file.execute(MODEL_TAG, (name, HISTORY)).fetchone()
    aliases = tuple(alias for (alias,) in file.execute(ALIASES, (name, version)))
    found = Version(name, int(version), plain(str(source)), aliases, metrics, tags)
    return found, [int(former) for former in json.loads(history[0])] if history else []
