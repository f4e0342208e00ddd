"""kill -9 at every fault point of the road, then a rerun: the same tables, models, aliases and tags as undisturbed.

One home is prepared for each stage: as the stages before it left it. Each kill gets a copy of it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest

from millrace.storage.faults import Point
from tests.orders import PIPELINE, day_rows
from tests.stages.forked import NEVER, Forks

FIRST, SECOND = "2026-01-11", "2026-01-12"  # all tables are made; all are added to, and a champion is replaced
MODELS = {FIRST: "logistic_regression", SECOND: "decision_tree"}
STAGES = ("check", "clean", "shard", "stats", "drift", "sample", "train", "evaluate", "promote", "compress", "score")
SOME = ("check", "clean", "sample", "train", "evaluate", "promote", "compress", "score")
LEARNING = ("train", "promote", "compress", "rollback")
CHAMPIONS: dict[tuple[str, str], tuple[int | None, ...]] = {
    (FIRST, "train"): (None,),
    (FIRST, "compress"): (1,),
    (SECOND, "train"): (1,),
    (SECOND, "promote"): (1, 2),
    (SECOND, "compress"): (2,),
}
CHANGES = {
    "window: 12d": "window: 4d\npromote: {confidence: 0.5}",
    "holdout: 3d": "holdout: 1d",
    "{by: customer, shards: 2}": "{by: customer, method: range, shards: 2}",
    "{range: [0, 1000], on_violation: quarantine}": (
        "{outliers: {method: quantile, lower: 0.02, upper: 0.98}, on_violation: quarantine, "
        "missing: {fill: most_frequent}}"
    ),
}
COMMIT = "before_commit after_commit"
STORE = (
    "before_registry_write after_registry_run after_registry_files after_registry_figures after_registry_run_end "
    "after_registry_write before_alias_move after_alias_move"
)
TAG = "before_tag_write after_tag_write"
KILLS = {
    (FIRST, "check"): COMMIT,
    (FIRST, "clean"): f"{COMMIT} before_commit:2 after_commit:2",
    (FIRST, "train"): STORE,
    (FIRST, "compress"): f"before_scorer_write after_scorer_model after_scorer_write {TAG}",
    (SECOND, "check"): f"before_shuffle_index after_task_report:2 {COMMIT}",
    (SECOND, "clean"): "before_part_write:2 after_part_write before_task_report "
    f"{COMMIT} before_commit:2 after_commit:2",
    (SECOND, "shard"): "before_shuffle_index after_shuffle_index before_task_report:3 after_task_report "
    f"after_part_write:2 {COMMIT}",
    (SECOND, "stats"): f"before_part_write {COMMIT}",
    (SECOND, "drift"): COMMIT,
    (SECOND, "sample"): f"before_shuffle_index:2 before_task_report:9 after_task_report:2 after_part_write:2 {COMMIT}",
    (SECOND, "train"): STORE,
    (SECOND, "evaluate"): COMMIT,
    (SECOND, "promote"): f"{TAG} before_tag_write:2 after_tag_write:2 before_tag_write:3 after_tag_write:3 "
    "before_alias_move after_alias_move before_alias_move:2 after_alias_move:2",
    (SECOND, "compress"): TAG,
    (SECOND, "score"): "before_part_write:8 after_part_write before_task_report:5 after_task_report "
    f"before_scoring_commit {COMMIT} after_scoring_commit",
}
BY_WORKERS = ("part_write", "shuffle_index", "task_report")
LOCAL = {  # what tasks reach in their own processes; and two in the driver while the task server lives
    "clean": "after_part_write",
    "shard": "before_shuffle_index after_shuffle_index before_task_report after_task_report before_commit",
    "score": "before_part_write after_scoring_commit",
}
ROLLBACK = f"{TAG} before_tag_write:2 after_tag_write:2 before_alias_move after_alias_move after_tag_write:3"


class Road:
    """The work of two nights, as each stage left it."""

    def __init__(self, place: Path, forks: Forks) -> None:
        self.place, self.forks = place, forks
        self.passes: dict[tuple[str, str], dict[str, int]] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        before = "nothing"
        self._save(before)
        self._before: dict[tuple[str, str], str] = {}
        for night, stages in ((FIRST, SOME), (SECOND, STAGES)):
            for stage in stages:
                self._before[night, stage] = before
                code, said = self.run(night, stage, NEVER)
                assert code == 0, said
                self.passes[night, stage] = json.loads((place / "passes").read_text())
                before = f"{night}-{stage}"
                self._save(before)

    def run(self, night: str, stage: str, fault: str = "", runner: str = "inline", **trouble: Any) -> tuple[int, str]:
        """`millrace run` of a night until a stage."""
        return self.forks(self.place, self.words(night, stage, runner), fault, **trouble)

    def words(self, night: str, stage: str, runner: str = "inline") -> list[str]:
        """The command for a night until a stage, its pipeline file written; the last stages run by themselves, as
        tasks of Airflow do."""
        text = PIPELINE + f"train: {{model: {MODELS[night]}}}\n"
        for old, new in CHANGES.items():
            text = text.replace(old, new)
        (self.place / "pipelines" / "orders.yaml").write_text(text)
        words = ["run", "orders", "--date", night, "-r", runner, "--until", stage, "--json"]
        return words + (["--from", stage] if stage in ("promote", "compress", "score") else [])

    def before(self, night: str, stage: str) -> None:
        """The home as the stages before left it."""
        self.restore(self._before[night, stage])

    def after(self, night: str, stage: str) -> dict[str, Any]:
        """What an undisturbed run of a stage left."""
        return self._remembered(f"{night}-{stage}", stage)

    def after_rollback(self) -> dict[str, Any]:
        """What an undisturbed rollback leaves after both nights."""
        if "rollback" not in self._seen:
            self.restore(f"{SECOND}-score")
            code, said = self.forks(self.place, ["rollback", "orders"])
            assert code == 0, said
            self._seen["rollback"] = self.look("rollback")
        return self._seen["rollback"]

    def look(self, stage: str) -> dict[str, Any]:
        """What there is now; models too where the stage has to do with them."""
        return self.forks.look(self.place, models=stage in LEARNING)

    def _remembered(self, name: str, stage: str) -> dict[str, Any]:
        if name not in self._seen:
            self.restore(name)
            self._seen[name] = self.look(stage)
        return self._seen[name]

    def _save(self, name: str) -> None:
        shutil.copytree(self.place / "home", self.place / "saved" / name)

    def restore(self, name: str) -> None:
        """The home as a stage left it."""
        shutil.rmtree(self.place / "home")
        shutil.copytree(self.place / "saved" / name, self.place / "home")


def champion(seen: dict[str, Any]) -> int | None:
    found = [each["version"] for each in seen["models"] if "champion" in each["aliases"]]
    return found[0] if found else None


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    place = tmp_path_factory.mktemp("road")
    for name in ("data", "pipelines", "home"):
        (place / name).mkdir()
    for day in range(8, 13):
        (place / "data" / f"2026-01-{day:02}.csv").write_text(day_rows(date(2026, 1, day)))
    forks = Forks()
    try:
        yield Road(place, forks)
    finally:
        forks.close()


def cases(kills: dict[Any, str]) -> list[Any]:
    return [
        pytest.param(key, fault, id="-".join([*([key] if isinstance(key, str) else key), fault]))
        for key, faults in kills.items()
        for fault in faults.split()
    ]


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name] == wanted[name], name


@pytest.mark.parametrize(("where", "fault"), cases(KILLS))
def test_a_rerun_after_a_kill_leaves_what_an_undisturbed_run_leaves(
    road: Road, where: tuple[str, str], fault: str
) -> None:
    wanted = road.after(*where)
    road.before(*where)
    assert road.run(*where, fault)[0] == -9
    if where[1] in LEARNING:
        killed = road.look(where[1])  # which loads every model that the registry shows
        assert all(each["metrics"]["rows"] for each in killed["models"])
        assert champion(killed) in CHAMPIONS[where]
        assert [status for _, status in killed["runs"]].count("FINISHED") >= len(killed["models"])
    code, said = road.run(*where)
    assert code == 0, said
    assert_same(road.look(where[1]), wanted)


@pytest.mark.parametrize(("stage", "fault"), cases(LOCAL))
def test_a_killed_task_of_the_local_runner_fails_in_words_and_a_rerun_heals(road: Road, stage: str, fault: str) -> None:
    wanted = road.after(SECOND, stage)
    road.before(SECOND, stage)
    code, said = road.run(SECOND, stage, fault, "local")
    if any(point in fault for point in BY_WORKERS):
        assert code == 1
        assert re.search(r"(map|reduce) task \d was killed", said)
    else:
        assert code == -9
    code, said = road.run(SECOND, stage)
    assert code == 0, said
    assert_same(road.look(stage), wanted)


@pytest.mark.parametrize("fault", ROLLBACK.split())
def test_a_rollback_that_was_killed_goes_back_once(road: Road, fault: str) -> None:
    wanted = road.after_rollback()
    assert champion(wanted) == 1
    road.restore(f"{SECOND}-score")
    assert road.forks(road.place, ["rollback", "orders"], fault)[0] == -9
    code, said = road.forks(road.place, ["rollback", "orders"])
    assert code == 0, said
    assert_same(road.look("rollback"), wanted)


def test_every_point_that_the_road_passes_is_among_the_kills(road: Road) -> None:
    kills: dict[Any, set[str]] = defaultdict(set)
    for where, faults in KILLS.items():
        kills[where] = {fault if ":" in fault else f"{fault}:1" for fault in faults.split()}
    assert {fault.partition(":")[0] for faults in kills.values() for fault in faults} == set(get_args(Point))
    passed = {
        (stage, f"{point}:{number}")
        for (night, stage), points in road.passes.items()
        for point, count in points.items()
        if night == SECOND and not point.endswith(BY_WORKERS)
        for number in range(1, count + 1)
    }
    assert passed == {
        (stage, fault)
        for (night, stage), faults in kills.items()
        for fault in faults
        if night == SECOND and not fault.partition(":")[0].endswith(BY_WORKERS)
    }
