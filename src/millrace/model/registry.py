"""The registry: models and their figures go into MLflow as plain files, and come out by alias or version.

One registered model per pipeline. Alias `champion` is what scores; `challenger` is the newest candidate. The tag
`millrace.champions` of the registered model lists former champions, the latest last, for rollback. MLflow only stores:
it never serialises a model, so nothing here is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pydantic import BaseModel, ConfigDict

from millrace.errors import GateClosed, RequestError, ServiceError
from millrace.model.model_file import JSON, LoadedModel, read_model, write_model
from millrace.storage.faults import reach
from millrace.storage.files import copy_folder, exists, write_file
from millrace.without_pyspark import without_pyspark

CHAMPION, CHALLENGER = "champion", "challenger"
TRANSACTION, HISTORY = "millrace.transaction", "millrace.champions"
INTERVAL = "millrace.interval"
ROLLED_BACK, ROLLING_BACK = "millrace.rolled_back", "millrace.rolling_back"
HISTORY_LENGTH = 200
MODEL_FOLDER, SCORER_FOLDER = "model", "scorer"


class RunInfo(BaseModel):
    """Which run made a model. Equal fields name the same transaction, and so the same model version."""

    model_config = ConfigDict(frozen=True)

    pipeline: str
    stage: str = "train"
    interval: str
    versions: dict[str, int]  # input tables → versions
    settings: str = ""  # a digest of what else shapes the model

    @property
    def transaction(self) -> str:
        """A short name of the transaction, the same in every process."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return f"{self.pipeline}/{self.stage}/{self.interval}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Version:
    """One model version: its number, where its files are, its aliases, metrics, and the tags Millrace gave it."""

    name: str
    version: int
    folder: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]


class Registry:
    """MLflow's tracking and registry at one URI, model files below a folder or URI. No global state is touched.

    The files go through Millrace's own stores: MLflow knows where they are, and never opens them.
    """

    def __init__(self, uri: str, artifacts: Path | str) -> None:
        self.uri = uri
        self.artifacts = str(artifacts).rstrip("/")
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._client = _connect(uri)

    def log_candidate(
        self,
        run: RunInfo,
        model: LoadedModel,
        metrics: Mapping[str, float | None],
        files: Mapping[str, bytes] | None = None,
    ) -> int:
        """Store a candidate and return its version; the alias `challenger` moves to it.

        `files` (name → content) are stored beside the model. The same transaction again returns the same version and
        stores nothing; after a crash half-way, the rerun completes it. The version is made last, from a run that is
        whole: none that `find` shows lacks a file or a figure.
        """
        with _service("store a model"):
            existing = self.resume(run)
            if existing is not None:
                return existing
            reach("before_registry_write")
            run_id, folder = self._run(run)
            reach("after_registry_run")
            with tempfile.TemporaryDirectory() as scratch:
                local = Path(scratch)
                write_model(local, model.estimator, model.info.model_copy(update={"versions": run.versions}))
                for name, content in (files or {}).items():
                    (local / name).write_bytes(content)
                copy_folder(local, f"{folder}/{MODEL_FOLDER}")
            reach("after_registry_files")
            self._log(run_id, model, metrics, run)
            reach("after_registry_figures")
            self._client.set_terminated(run_id, "FINISHED")
            reach("after_registry_run_end")
            self._ensure_model(run.pipeline)
            tags = {TRANSACTION: run.transaction, INTERVAL: run.interval, "millrace.stage": run.stage}
            made = self._client.create_model_version(run.pipeline, f"{folder}/{MODEL_FOLDER}", run_id, tags=tags)
            reach("after_registry_write")
            version = self._first(run) or int(made.version)
            self._challenge(run.pipeline, version)
            return version

    def resume(self, run: RunInfo) -> int | None:
        """As `find`, after what a crash left undone: see `settle`; a version that lacks its alias gets it."""
        with _service("read the registry"):
            self.settle(run.pipeline)
            found = self._first(run)
            if found is not None:
                self._challenge(run.pipeline, found)
        return found

    def find(self, run: RunInfo) -> int | None:
        """The version that this transaction made, None where it made none yet."""
        return min((int(version.version) for version in self._made(run)), default=None)

    def _made(self, run: RunInfo) -> list[Any]:
        return list(
            self._client.search_model_versions(
                f"name = '{run.pipeline}' and tags.`{TRANSACTION}` = '{run.transaction}'"
            )
        )

    def _first(self, run: RunInfo) -> int | None:
        """As `find`, where two drivers made a version each at once: the first stays, and the other one goes."""
        from mlflow.exceptions import MlflowException

        made = sorted(self._made(run), key=lambda version: int(version.version))
        for other in made[1:]:
            with contextlib.suppress(MlflowException):  # the other driver was faster
                self._client.delete_model_version(run.pipeline, other.version)
            if other.run_id != made[0].run_id:
                with contextlib.suppress(MlflowException):
                    self._client.delete_run(other.run_id)
        return int(made[0].version) if made else None

    def champion(self, name: str) -> int | None:
        """The version that scores, None before the first promotion."""
        return self._alias(name, CHAMPION)

    def challenger(self, name: str) -> int | None:
        """The newest candidate that wasn't promoted, None where there is none."""
        found = self._alias(name, CHALLENGER)
        return None if found == self.champion(name) else found  # a crash inside `promote` may leave it there

    def promote(self, name: str, version: int) -> int | None:
        """Make a version champion and return the former one.

        Promoting the champion again changes nothing. Raises RequestError where there is no such version.
        """
        self.version(name, version)
        self.settle(name)
        former = self.champion(name)
        with _service("promote a model"):
            if former != version:
                if former is not None:  # first the history: a crash in between leaves the old champion, and no gap
                    self._write_history(name, [*self._former(name, former), former])
                self._move(name, CHAMPION, version)
        self.settle(name)
        return former

    def settle(self, name: str) -> None:
        """Do what a crash left undone: the end of a rollback, or the alias `challenger` of what became champion."""
        with _service("complete what was begun"):
            model = self._model(name)
            if model is not None and ROLLING_BACK in model.tags:
                self._roll_back(name, *json.loads(model.tags[ROLLING_BACK]))
            champion = self.champion(name)
            if champion is not None and self._alias(name, CHALLENGER) == champion:
                self._move(name, CHALLENGER, None)

    def rollback(self, name: str) -> tuple[int, int]:
        """Make the former champion champion again; returns (from, to).

        What it is about to do is written down first: the next call completes one that was killed, instead of going
        back once more. Raises GateClosed where there is no former champion.
        """
        with _service("roll a model back"):
            model = self._model(name)
            begun = None if model is None else model.tags.get(ROLLING_BACK)
            left, to, history = json.loads(begun) if begun else self._plan_rollback(name)
            if not begun:
                self._tag_model(name, ROLLING_BACK, json.dumps([left, to, history]))
            self._roll_back(name, left, to, history)
        return left, to

    def _roll_back(self, name: str, left: int, to: int, history: list[int]) -> None:
        self.tag(name, left, {ROLLED_BACK: "true"})
        self._move(name, CHAMPION, to)
        self._write_history(name, history)
        self._client.delete_registered_model_tag(name, ROLLING_BACK)

    def _plan_rollback(self, name: str) -> tuple[int, int, list[int]]:
        """From which version, to which, and the history that stays."""
        current = self.champion(name)
        former = self._former(name, current)
        if current is None or not former:
            raise GateClosed(f"{name} has no former champion to go back to", found=f"champion {current or 'none'}")
        return current, former[-1], former[:-1]

    def rolled_back(self, name: str, version: int) -> bool:
        """Whether a version was champion and a person went back behind it."""
        with _service("read the registry"):
            return ROLLED_BACK in self._client.get_model_version(name, str(version)).tags

    def history(self, name: str) -> list[int]:
        """Former champions, the latest last."""
        with _service("read the registry"):
            model = self._model(name)
        return [int(version) for version in json.loads(model.tags.get(HISTORY, "[]"))] if model is not None else []

    def versions(self, name: str) -> list[Version]:
        """All versions of a pipeline's model, the newest first."""
        with _service("read the registry"):
            if self._model(name) is None:
                return []
            found = self._client.search_model_versions(f"name = '{name}'")
        return [self.version(name, number) for number in sorted((int(v.version) for v in found), reverse=True)]

    def version(self, name: str, version: int | str) -> Version:
        """One version, by number or alias. Raises RequestError where there is none."""
        number = self._alias(name, version) if isinstance(version, str) and not version.isdigit() else int(version)
        with _service("read the registry"):
            found = [
                entry
                for entry in self._client.search_model_versions(f"name = '{name}'")
                if number is not None and int(entry.version) == number
            ]
            if not found:
                raise RequestError(f"{name} has no model version {version}", expected=self._known(name))
            entry = found[0]
            aliases = tuple(sorted(a for a in (CHAMPION, CHALLENGER) if self._alias(name, a) == number))
            metrics = dict(self._client.get_run(entry.run_id).data.metrics)
        return Version(name, int(entry.version), plain(entry.source), aliases, metrics, dict(entry.tags))

    def load(self, name: str, version: int | str = CHAMPION) -> LoadedModel:
        """Load a model by version or alias. Raises as `version` and `read_model`."""
        found = self.version(name, version)
        model = read_model(found.folder)
        return LoadedModel(model.estimator, model.info.model_copy(update={"model_version": found.version}))

    def store_scorer(self, name: str, version: int, scorer: LoadedModel, files: Mapping[str, bytes]) -> str:
        """Store a compressed scorer, with further files such as its report, beside a version's model.

        Returns its folder. Storing again replaces it.
        """
        folder = _beside(self.version(name, version).folder)
        with _service("store a scorer"), tempfile.TemporaryDirectory() as scratch:
            write_model(Path(scratch), scorer.estimator, scorer.info.model_copy(update={"model_version": version}))
            for file, content in files.items():
                (Path(scratch) / file).write_bytes(content)
            last = Path(scratch) / JSON  # it makes the folder a scorer
            info = last.read_bytes()
            last.unlink()
            reach("before_scorer_write")
            copy_folder(Path(scratch), folder)
            reach("after_scorer_model")
            write_file(f"{folder}/{JSON}", info)
            reach("after_scorer_write")
        return folder

    def scoring_folder(self, name: str, version: int) -> str:
        """The folder to score with: the compressed scorer's where there is one, else the model's."""
        return scorer_of(self.version(name, version).folder)

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version, for instance the promotion's reason."""
        with _service("tag a model"):
            for key, value in tags.items():
                reach("before_tag_write")
                self._client.set_model_version_tag(name, str(version), key, value[:5000])
                reach("after_tag_write")

    def _run(self, run: RunInfo) -> tuple[str, str]:
        """The MLflow run of a transaction, found again after a crash."""
        experiment = self._client.get_experiment_by_name(run.pipeline)
        if experiment is None:
            location = f"{self.artifacts}/{run.pipeline}"
            if "://" not in location:  # MLflow takes a path that isn't there for one of its own machine's
                Path(location).mkdir(parents=True, exist_ok=True)
                location = str(Path(location).absolute())
            experiment_id = self._new_experiment(run.pipeline, location)
        else:
            experiment_id = experiment.experiment_id
        found = self._client.search_runs([experiment_id], f"tags.`{TRANSACTION}` = '{run.transaction}'", max_results=1)
        made = (
            found[0]
            if found
            else self._client.create_run(
                experiment_id, tags={TRANSACTION: run.transaction}, run_name=f"{run.stage} {run.interval}"
            )
        )
        return made.info.run_id, plain(made.info.artifact_uri)

    def _new_experiment(self, name: str, location: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.create_experiment(name, location))
        except MlflowException:  # another driver was faster
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _log(self, run_id: str, model: LoadedModel, metrics: Mapping[str, float | None], run: RunInfo) -> None:
        from mlflow.entities import Metric, Param, RunTag

        values = {key: value for key, value in {**model.info.metrics, **metrics}.items() if value is not None}
        params = {"model": model.info.family, **model.info.params}
        tables = {f"millrace.version.{table}": str(version) for table, version in run.versions.items()}
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), 0, 0) for key, value in values.items()],
            params=[Param(key, str(value)[:6000]) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in {INTERVAL: run.interval, **tables}.items()],
        )

    def _former(self, name: str, champion: int | None) -> list[int]:
        """The history without the champion at its end, which a crash inside `promote` leaves there."""
        former = self.history(name)
        while former and former[-1] == champion:
            former.pop()
        return former

    def _challenge(self, name: str, version: int) -> None:
        """Move the alias `challenger` to the newest version, unless it is or was champion."""
        newest = max(int(entry.version) for entry in self._client.search_model_versions(f"name = '{name}'"))
        if version == newest and version != self.champion(name) and not self._was_champion(name, version):
            self._move(name, CHALLENGER, version)

    def _move(self, name: str, alias: str, version: int | None) -> None:
        """Let an alias name this version, or none; nothing where it does."""
        if self._alias(name, alias) == version:
            return
        reach("before_alias_move")
        if version is None:
            self._client.delete_registered_model_alias(name, alias)
        else:
            self._client.set_registered_model_alias(name, alias, str(version))
        reach("after_alias_move")

    def _was_champion(self, name: str, version: int) -> bool:
        return self.rolled_back(name, version) or version in self.history(name)

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        if self._model(name) is None:
            try:
                self._client.create_registered_model(name)
            except MlflowException:  # another driver was faster
                if self._model(name) is None:
                    raise

    def _model(self, name: str) -> Any:
        found = self._client.search_registered_models(f"name = '{name}'")
        return found[0] if found else None

    def _alias(self, name: str, alias: str) -> int | None:
        with _service("read the registry"):
            model = self._model(name)
        number = model.aliases.get(alias) if model is not None else None
        return None if number is None else int(number)

    def _write_history(self, name: str, versions: list[int]) -> None:
        self._tag_model(name, HISTORY, json.dumps(versions[-HISTORY_LENGTH:]))

    def _tag_model(self, name: str, key: str, value: str) -> None:
        reach("before_tag_write")
        self._client.set_registered_model_tag(name, key, value)
        reach("after_tag_write")

    def _known(self, name: str) -> str:
        numbers = sorted(int(entry.version) for entry in self._client.search_model_versions(f"name = '{name}'"))
        return f"one of {', '.join(map(str, numbers))}" if numbers else "a trained model; there is none yet"


def _connect(uri: str) -> Any:
    """A client with MLflow's usage reporting and its log lines about migrations switched off."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    with without_pyspark():
        from mlflow import MlflowClient

    for logger in ("mlflow", "alembic"):  # its import sets its own level
        logging.getLogger(logger).setLevel(logging.WARNING)
    with _service("open the registry"):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextlib.contextmanager
def _service(action: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise ServiceError(f"the registry didn't {action}", found=str(error).split("\n")[0][:300]) from error


def plain(uri: str) -> str:
    """The path behind a ``file://`` URI; other addresses as they are."""
    parsed = urlparse(uri)
    return unquote(parsed.path) if parsed.scheme == "file" else uri


def scorer_of(folder: str) -> str:
    """The folder to score with, by the model's: that of its compressed scorer where there is one, else its own."""
    scorer = _beside(folder)
    return scorer if exists(f"{scorer}/{JSON}") else folder


def _beside(model: str) -> str:
    """The folder of the compressed scorer of a model."""
    return f"{model.rpartition('/')[0]}/{SCORER_FOLDER}"
