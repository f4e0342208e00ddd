from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.errors import CorruptData, GateClosed, RequestError, ServiceError
from millrace.model.champion import champion_facts, find_champion
from millrace.model.compress import compress
from millrace.model.model_file import LoadedModel
from millrace.model.registry import Registry, RunInfo
from millrace.model.score import score_batch
from millrace.model.train import fit
from millrace.spec import Pipeline

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("home")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "mlflow-artifacts")


@pytest.fixture(scope="module")
def model(shop_pipeline: Make, shop: Rows) -> LoadedModel:
    return fit(shop(500), shop_pipeline(), 1).model(shop_pipeline(), "2026-01-01")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "_").replace("]", "")


def log(registry: Registry, model: LoadedModel, name: str, day: int) -> int:
    run = RunInfo(pipeline=name, interval=f"2026-01-{day:02d}", versions={"sample": day})
    return registry.log_candidate(run, model, {"roc_auc": 0.8, "f1": None}, {"note.txt": b"night"})


def test_a_candidate_comes_back_with_its_files_and_figures(
    registry: Registry, model: LoadedModel, name: str, shop: Rows
) -> None:
    assert log(registry, model, name, 1) == 1
    assert (registry.champion(name), registry.challenger(name)) == (None, 1)
    loaded = registry.load(name, "challenger")
    assert (score_batch(shop(100), loaded) == score_batch(shop(100), model)).all()
    assert (loaded.info.model_version, loaded.info.versions) == (1, {"sample": 1})
    version = registry.version(name, 1)
    assert version.metrics["roc_auc"] == 0.8
    assert "f1" not in version.metrics
    assert version.aliases == ("challenger",)
    assert (Path(version.folder) / "note.txt").read_bytes() == b"night"


def test_the_champion_is_found_without_mlflow(
    registry: Registry, model: LoadedModel, name: str, shop: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> tuple[int, str] | None:
        return find_champion(registry.uri, registry.artifacts, name)

    assert told() is None
    for day in (1, 2):
        log(registry, model, name, day)
    assert told() is None
    registry.promote(name, 1)
    registry.promote(name, 2)
    facts = registry.version(name, 2), registry.history(name)
    monkeypatch.setattr("millrace.model.champion.Registry", None)  # from here on, MLflow isn't asked
    assert champion_facts(registry.uri, registry.artifacts, name) == facts
    assert facts[1] == [1]
    assert told() == (2, registry.scoring_folder(name, 2))
    registry.store_scorer(name, 2, compress(model, shop(500, seed=1)).model, {})
    assert told() == (2, registry.scoring_folder(name, 2))
    assert registry.scoring_folder(name, 2).endswith("/scorer")
    registry.rollback(name)
    assert told() == (1, registry.scoring_folder(name, 1))


def test_nothing_is_pickled(registry: Registry, model: LoadedModel, name: str) -> None:
    log(registry, model, name, 1)
    files = {path.name for path in Path(registry.artifacts).rglob("*") if path.is_file()}
    assert files <= {"model.skops", "model.json", "model.npz", "note.txt", "report.json"}


def test_the_same_transaction_twice_is_one_version(registry: Registry, model: LoadedModel, name: str) -> None:
    assert [log(registry, model, name, day) for day in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert [version.version for version in registry.versions(name)] == [2, 1]


def test_of_two_drivers_that_store_one_candidate_at_once_one_version_stays(
    registry: Registry, model: LoadedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(registry, model, name, 1)
    create = registry._client.create_model_version

    def create_after_another(*arguments: object, **more: object) -> object:
        monkeypatch.setattr(registry._client, "create_model_version", create)
        log(registry, model, name, 2)  # the other driver, which looked as early and is faster
        return create(*arguments, **more)

    monkeypatch.setattr(registry._client, "create_model_version", create_after_another)
    assert log(registry, model, name, 2) == 2
    assert [version.version for version in registry.versions(name)] == [2, 1]
    assert registry.challenger(name) == 2


@pytest.mark.parametrize("point", ["log_batch", "create_model_version", "set_registered_model_alias"])
def test_a_crash_half_way_and_a_rerun_make_one_version(
    point: str, registry: Registry, model: LoadedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, point, crash)
        with pytest.raises(KeyboardInterrupt):
            log(registry, model, name, 1)
    assert log(registry, model, name, 1) == 1
    assert [version.version for version in registry.versions(name)] == [1]
    assert registry.challenger(name) == 1
    experiment = registry._client.get_experiment_by_name(name)
    assert len(registry._client.search_runs([experiment.experiment_id])) == 1


def test_promote_and_roll_back(registry: Registry, model: LoadedModel, name: str) -> None:
    for day in (1, 2, 3):
        log(registry, model, name, day)
    assert [registry.promote(name, version) for version in (1, 2, 3)] == [None, 1, 2]
    assert registry.promote(name, 3) == 3  # again: nothing changes
    assert (registry.champion(name), registry.history(name)) == (3, [1, 2])
    assert registry.rollback(name) == (3, 2)
    assert registry.rollback(name) == (2, 1)
    with pytest.raises(GateClosed, match="no former champion to go back to"):
        registry.rollback(name)
    assert registry.load(name).info.model_version == 1
    assert registry.version(name, 3).tags["millrace.rolled_back"] == "true"


def test_a_crash_inside_promote_leaves_the_old_champion_and_its_history(
    registry: Registry, model: LoadedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2, 3):
        log(registry, model, name, day)
    registry.promote(name, 1)
    registry.promote(name, 2)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "set_registered_model_alias", crash)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(name, 3)
    assert registry.champion(name) == 2
    registry.promote(name, 3)
    assert registry.history(name) == [1, 2]
    assert registry.rollback(name) == (3, 2)
    assert registry.rollback(name) == (2, 1)


@pytest.mark.parametrize(
    "point", ["set_model_version_tag", "set_registered_model_alias", "delete_registered_model_tag"]
)
def test_a_rollback_that_was_killed_is_completed_by_whoever_comes_next(
    point: str, registry: Registry, model: LoadedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2, 3):
        log(registry, model, name, day)
        registry.promote(name, day)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, point, crash)
        with pytest.raises(KeyboardInterrupt):
            registry.rollback(name)
    assert log(registry, model, name, 4) == 4  # the next night's candidate
    assert (registry.champion(name), registry.history(name)) == (2, [1])
    assert registry.rolled_back(name, 3)
    assert registry.promote(name, 4) == 2
    assert registry.rollback(name) == (4, 2)


def test_the_champion_is_no_challenger_after_a_crash(
    registry: Registry, model: LoadedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(registry, model, name, 1)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "delete_registered_model_alias", crash)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(name, 1)
    assert (registry.champion(name), registry.challenger(name)) == (1, None)
    registry.settle(name)
    assert registry.version(name, 1).aliases == ("champion",)


def test_unknown_versions_are_named(registry: Registry, model: LoadedModel, name: str) -> None:
    with pytest.raises(RequestError, match="a trained model; there is none yet"):
        registry.load(name)
    log(registry, model, name, 1)
    with pytest.raises(RequestError, match="no model version 7: expected one of 1"):
        registry.promote(name, 7)
    with pytest.raises(RequestError, match="no model version champion"):
        registry.load(name)


def test_a_changed_file_isnt_loaded(registry: Registry, model: LoadedModel, name: str) -> None:
    log(registry, model, name, 1)
    path = Path(registry.version(name, 1).folder) / "model.skops"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptData):
        registry.load(name, 1)


def test_a_compressed_scorer_stands_beside_its_model(
    registry: Registry, model: LoadedModel, name: str, shop: Rows
) -> None:
    log(registry, model, name, 1)
    assert registry.scoring_folder(name, 1) == registry.version(name, 1).folder
    smaller = compress(model, shop(2000, seed=3))
    folder = registry.store_scorer(name, 1, smaller.model, {"report.json": smaller.report.model_dump_json().encode()})
    assert registry.scoring_folder(name, 1) == folder
    assert {path.name for path in Path(folder).iterdir()} == {"model.json", "model.npz", "report.json"}


def test_another_process_sees_the_same_registry(registry: Registry, model: LoadedModel, name: str) -> None:
    log(registry, model, name, 1)
    registry.promote(name, 1)
    assert Registry(registry.uri, registry.artifacts).champion(name) == 1


def test_global_state_is_left_alone(registry: Registry) -> None:
    import mlflow

    assert registry.uri not in mlflow.get_tracking_uri()
    assert not Path("mlruns").exists()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_registry_that_isnt_there_is_a_service_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, and long enough to be taken for one" * 50)
    with pytest.raises(ServiceError, match="the registry didn't open"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
