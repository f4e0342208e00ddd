"""A DAG bundle made from pipeline files: Airflow asks for DAG files, and gets one per pipeline file.

Airflow hides all DAGs of a file with an import error. With a file of its own per pipeline, a mistake in one pipeline
file is that file's import error and leaves the other pipelines alone. New, changed and deleted pipeline files are seen
at the next refresh. In an Airflow of your own::

    [dag_processor]
    dag_bundle_config_list = [{"name": "millrace", "classpath": "millrace.airflow.bundle.PipelineBundle", "kwargs": {}}]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

from millrace.profiles import home, pipelines_folder

LOADER = '''"""The DAGs of pipeline {name}, made from {path}, which says:

{text}
"""

from airflow.sdk import DAG

from millrace.airflow.dag_builder import dags_for

for dag in dags_for(__file__):
    globals()[dag.dag_id] = dag
'''


class PipelineBundle(BaseDagBundle):
    """One DAG file per pipeline file of `MILLRACE_PIPELINES`, kept in `MILLRACE_HOME`."""

    supports_versioning = False

    def __init__(self, *, refresh_interval: int = 5, **kwargs: Any) -> None:
        super().__init__(refresh_interval=refresh_interval, **kwargs)

    @property
    def path(self) -> Path:
        """The folder of the DAG files."""
        return home() / "airflow" / "dags"

    def get_current_version(self) -> None:
        """Not versioned: a task uses the pipeline file as it is."""

    def refresh(self) -> None:
        """Make the DAG files match the pipeline files; called by the DAG processor every few seconds."""
        write_loaders(pipelines_folder(), self.path)


def write_loaders(pipelines: Path, folder: Path) -> list[str]:
    """Write one DAG file per pipeline file and remove those without one; returns the names that were written.

    The pipeline file's text is quoted in its DAG file: Airflow shows it as the DAG's code, and parses again at once
    where it changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {path.stem: path for path in pipelines.glob("*.yaml")}
    for file in folder.glob("*.py"):
        if file.stem not in found:
            file.unlink(missing_ok=True)
    written = []
    for name, path in sorted(found.items()):
        target = folder / f"{name}.py"
        code = LOADER.format(name=name, path=path.name, text=quote(path))
        if not target.exists() or target.read_text(encoding="utf-8") != code:
            draft = target.with_suffix(".draft")
            draft.write_text(code, encoding="utf-8")
            draft.replace(target)
            written.append(name)
    return written


def quote(path: Path) -> str:
    """The file's text, safe inside a docstring of three double quotes."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"    (can't be read: {error.strerror})"
    plain = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text.expandtabs())
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(f"    {line}".rstrip() for line in escaped.split("\n"))
