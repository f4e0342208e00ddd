"""A client of Airflow's REST API: triggers runs and follows them, for `millrace demo` and the tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from datetime import time as clock
from typing import Any
from urllib.parse import quote

from millrace.errors import ServiceError, WorkError

Progress = Callable[[str, str, str], None]  # run id, task, state
FINISHED = ("success", "failed")


class AirflowClient:
    """Signed in at the API server of one Airflow; the token is fetched when first needed and renewed at 401."""

    def __init__(self, address: str, username: str, password: str) -> None:
        import httpx

        self.address = address
        self._credentials = {"username": username, "password": password}
        self._token: str | None = None
        # trust_env: a proxy of the environment must not see loopback
        self._http = httpx.Client(base_url=address, timeout=30, trust_env=False)

    def request(self, method: str, path: str, *, body: Any = None, missing_ok: bool = False, **query: Any) -> Any:
        """One request to ``/api/v2``; the JSON answer, None where there is none. Raises ServiceError."""
        import httpx

        for attempt in range(4):
            try:
                if self._token is None:
                    answer = self._http.post("/auth/token", json=self._credentials)
                    self._token = answer.raise_for_status().json()["access_token"]
                answer = self._http.request(
                    method,
                    f"/api/v2{path}",
                    json=body,
                    params=query,
                    headers={"Authorization": f"Bearer {self._token}"},
                )
            except httpx.HTTPError as error:
                if attempt == 3 or method != "GET":
                    raise ServiceError(f"Airflow at {self.address} doesn't answer", found=str(error)) from error
                time.sleep(0.5 * 2**attempt)
                continue
            if answer.status_code == 401 and attempt == 0:
                self._token = None
                continue
            if answer.status_code >= 500 and method == "GET" and attempt < 3:  # sqlite may be busy for a moment
                time.sleep(0.5 * 2**attempt)
                continue
            break
        if missing_ok and answer.status_code == 404:
            return None
        if answer.is_error:
            raise ServiceError(f"Airflow refused {method} {path}", found=f"{answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def unhealthy(self) -> list[str]:
        """Names of the components that don't report that they work."""
        import httpx

        try:
            health = self._http.get("/api/v2/monitor/health", timeout=5).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return ["API server"]
        names = {"scheduler": "scheduler", "dag_processor": "DAG processor", "triggerer": "triggerer"}
        return [name for key, name in names.items() if (health.get(key) or {}).get("status") != "healthy"]

    def warm_up(self) -> None:
        """Have the API server build what it builds at its first request from a task: seconds that a task would wait."""
        import httpx

        with contextlib.suppress(httpx.HTTPError):
            self._http.get("/execution/health")

    def create_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool where there is none of that name: one that the user changed stays."""
        if self.request("GET", f"/pools/{name}", missing_ok=True) is None:
            self.request("POST", "/pools", body={"name": name, "slots": slots, "description": description})

    def import_errors(self) -> dict[str, str]:
        """What is wrong with DAG files: file name → text."""
        found = self.request("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until a DAG has been parsed. Raises ServiceError with the import errors."""
        deadline = time.monotonic() + timeout
        while (dag := self.request("GET", f"/dags/{dag_id}", missing_ok=True)) is None:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"no DAG {dag_id} after {timeout:.0f} s", found=str(self.import_errors() or "no import error")
                )
            time.sleep(0.25)
        return dict(dag)

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Switch a DAG on (it runs by its schedule or asset) or off."""
        self.request("PATCH", f"/dags/{dag_id}", body={"is_paused": not on})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, logical_date: datetime | None = None) -> str:
        """Start a run with these form fields; returns its id. The DAG must be switched on for the run to begin."""
        body = {"logical_date": logical_date.isoformat() if logical_date else None, "conf": conf or {}}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", body=body)["dag_run_id"])

    def backfill(self, dag_id: str, first: date, last: date, conf: dict[str, Any] | None = None) -> list[str]:
        """One run per past interval from the day `first` to the day `last`, one after the other; their ids in order.

        Intervals that had a run already run again.
        """
        begin = datetime.combine(first, clock.min, UTC).isoformat()
        end = datetime.combine(last, clock(23, 59, 59), UTC).isoformat()
        body = {
            "dag_id": dag_id,
            "from_date": begin,
            "to_date": end,
            "max_active_runs": 1,
            "reprocess_behavior": "completed",
            "dag_run_conf": conf or {},
        }
        self._wait_for_backfills(dag_id)
        self.request("POST", "/backfills", body=body)
        runs = self.runs(dag_id, run_type="backfill", logical_date_gte=begin, logical_date_lte=end)
        return [run["dag_run_id"] for run in sorted(runs, key=lambda run: str(run["logical_date"]))]

    def _wait_for_backfills(self, dag_id: str, timeout: float = 120) -> None:
        """Airflow allows one backfill of a DAG at a time, and closes one a while after its last run has ended."""
        deadline = time.monotonic() + timeout
        while any(
            each["completed_at"] is None for each in self.request("GET", "/backfills", dag_id=dag_id)["backfills"]
        ):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"a backfill of {dag_id} is still running", hint="wait for it, or cancel it in the UI"
                )
            time.sleep(0.5)

    def runs(self, dag_id: str, **query: Any) -> list[dict[str, Any]]:
        """Runs of a DAG, oldest first; at most 100."""
        answer = self.request("GET", f"/dags/{dag_id}/dagRuns", order_by="run_after", limit=100, **query)
        return list(answer["dag_runs"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return dict(self.request("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task instances of a run by task, with state, try number, start, end and duration (seconds)."""
        answer = self.request("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances")
        return {task["task_id"]: task for task in answer["task_instances"]}

    def result(self, dag_id: str, run_id: str, task: str) -> Any:
        """What a task returned; None where it returned nothing."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/xcomEntries/return_value"
        answer = self.request("GET", path, missing_ok=True, deserialize="false", stringify="false")
        return None if answer is None else answer["value"]

    def answer(self, dag_id: str, run_id: str, task: str, option: str) -> None:
        """Answer the question that a task asks a person."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/-1/hitlDetails"
        self.request("PATCH", path, body={"chosen_options": [option], "params_input": {}})

    def links(self, dag_id: str, run_id: str, task: str) -> dict[str, str]:
        """The addresses behind the buttons on a task's page, by their names."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/links"
        return dict(self.request("GET", path)["extra_links"])

    def log(self, dag_id: str, run_id: str, task: str, attempt: int = 1) -> str:
        """The log of one attempt of a task, one event per line."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/logs/{attempt}"
        content = self.request("GET", path, full_content="true")["content"]
        return "\n".join(
            event if isinstance(event, str) else f"{event.get('level') or ''} {event['event']}".strip()
            for event in content
        )

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 3600,
        poll: float = 0.5,
        progress: Progress = lambda *_: None,
    ) -> dict[str, Any]:
        """Follow a run to its end, with every change of a task's state; returns the run. Asks every `poll` seconds.

        Raises WorkError with the failed task's probable cause, ServiceError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        seen: dict[str, str] = {}
        while True:
            run = self.run(dag_id, run_id)
            for name, task in self.tasks(dag_id, run_id).items():
                state = task["state"] or "none"
                if state != seen.get(name, "none"):
                    seen[name] = state
                    progress(run_id, name, state)
            if run["state"] in FINISHED:
                break
            if time.monotonic() > deadline:
                raise ServiceError(f"run {run_id} of {dag_id} isn't done after {timeout:.0f} s", found=str(seen))
            time.sleep(poll)
        if run["state"] == "failed":
            raise WorkError(f"run {run_id} of {dag_id} failed", found=self.cause(dag_id, run_id))
        return run

    def wait_all(self, dag_id: str, run_ids: Iterable[str], **options: Any) -> list[dict[str, Any]]:
        """Follow several runs to their ends, in order."""
        return [self.wait(dag_id, run_id, **options) for run_id in run_ids]

    def wait_for_idle(self, dag_id: str, *, settle: float = 3, **options: Any) -> list[dict[str, Any]]:
        """Wait until no run of a DAG is queued or running for `settle` seconds; returns all its runs, oldest first.

        For scoring runs, which asset events start a moment after the training run that sent them.
        """
        quiet = time.monotonic()
        while time.monotonic() - quiet < settle:
            active = [run for run in self.runs(dag_id) if run["state"] not in FINISHED]
            for run in active:
                self.wait(dag_id, run["dag_run_id"], **options)
                quiet = time.monotonic()
            time.sleep(0.25)
        return self.runs(dag_id)

    def cause(self, dag_id: str, run_id: str) -> str:
        """The probable cause in the log of the first failed task."""
        for name, task in self.tasks(dag_id, run_id).items():
            if task["state"] == "failed":
                lines = self.log(dag_id, run_id, name, max(task["try_number"], 1)).splitlines()
                causes = [line for line in lines if f"{name} failed: " in line]
                return causes[0].removeprefix("error ") if causes else f"{name}: see its log"
        return "no task failed"
