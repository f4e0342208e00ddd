"""Starts and ends the embedded Airflow: a home folder goes in, a handle with address, password and `stop` comes out."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from millrace.airflow import config, guard
from millrace.airflow.client import AirflowClient
from millrace.errors import ServiceError
from millrace.profiles import home as home_folder
from millrace.profiles import load_profile, pipelines_folder, profiles_folder

Progress = Callable[[str], None]
POOL_SLOTS = 2
COMPONENTS = {
    # logs of tasks are read from the folder: no log server, which would listen on every interface
    "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
    "dag-processor": ["airflow", "dag-processor"],
    "triggerer": ["airflow", "triggerer", "--skip-serve-logs"],
    "api-server": ["millrace.airflow.api_server", "api-server"],
}


@dataclass
class Handle:
    """A running Airflow: where it is, how to sign in, and how to end it. Also a context manager."""

    address: str
    username: str
    password: str
    folder: Path
    seconds: float
    _process: subprocess.Popen[bytes] = field(repr=False)
    _lock: IO[str] = field(repr=False)

    @property
    def pids(self) -> list[int]:
        """Every process of this Airflow."""
        return [self._process.pid, *guard.alive(self._process.pid)] if self.running else []

    @property
    def running(self) -> bool:
        """Whether all components run."""
        return self._process.poll() is None

    def client(self) -> AirflowClient:
        """A client of the REST API, signed in."""
        return AirflowClient(self.address, self.username, self.password)

    def wait(self) -> None:
        """Block until a component ends by itself.

        Raises ServiceError with the end of its log.
        """
        self._process.wait()
        raise failure(self.folder, "Airflow ended")

    def stop(self) -> None:
        """End all processes; returns when none is left. Stopping twice is fine."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=guard.GRACE + 7)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        guard.end_session(self._process.pid, grace=0)
        self._lock.close()

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    home: Path,
    port: int | None = None,
    *,
    unpaused: bool = False,
    parallelism: int = 4,
    timeout: float = 300,
    progress: Progress = lambda _: None,
) -> Handle:
    """Start scheduler, DAG processor and API server under ``<home>/airflow`` and wait until they work.

    `port` is a free one where none is given; `unpaused` switches new DAGs on. The servers listen on loopback alone and
    ask for the admin's password, as other users of the machine can reach loopback too. Everything ends with `stop`, or
    with this process.

    Tasks run with the profile that `MILLRACE_PROFILE` names, and with all that this process has in its environment.

    Raises ProfileError where the profile is wrong, ServiceError where another `up` holds this home, the port is taken,
    or a component doesn't come up within `timeout` seconds (with the end of its log).
    """
    began = time.monotonic()
    load_profile()
    folder = home.absolute() / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    lock = take_lock(folder)
    try:
        end_leftovers(folder)
        address = f"http://127.0.0.1:{free_port(port)}"
        password = config.write(folder, config.settings(folder, address, parallelism=parallelism, unpaused=unpaused))
        (folder / "logs").mkdir(exist_ok=True)
        environment = clean_environment(home, folder)
        progress("preparing Airflow's database")
        migrate(folder, environment)
        progress("starting scheduler, DAG processor, triggerer and API server")
        process = launch(folder, environment, lock)
    except BaseException:
        lock.close()
        raise
    handle = Handle(address, config.USER, password, folder, 0.0, process, lock)
    try:
        record(lock, {"address": address, "session": process.pid, "pid": os.getpid()})
        wait_until_healthy(handle, began + timeout, progress)
        handle.client().create_pool("millrace_jobs", POOL_SLOTS, "map/reduce jobs that read rows")
    except BaseException:
        handle.stop()
        raise
    handle.seconds = time.monotonic() - began
    progress(f"Airflow is up at {address} after {handle.seconds:.0f} s")
    return handle


def free_port(port: int | None) -> int:
    """The port asked for, or a free one. Raises ServiceError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise ServiceError(
                f"can't listen on port {port}", found=error.strerror, hint="choose another with --port"
            ) from None
        return int(probe.getsockname()[1])


def take_lock(folder: Path) -> IO[str]:
    """The open lock file of this home, held by this process and the guard that it starts."""
    lock = (folder / "up.json").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        other = json.loads(lock.read() or "{}")
        lock.close()
        raise ServiceError(
            f"Millrace is already up in {folder.parent}",
            found=f"process {other.get('pid', '?')} at {other.get('address', '?')}",
            hint="use that one, stop it, or set MILLRACE_HOME to another folder",
        ) from None
    return lock


def record(lock: IO[str], facts: dict[str, Any]) -> None:
    """Write who holds the lock, for the next one who wants it."""
    lock.seek(0)
    lock.truncate()
    json.dump(facts, lock)
    lock.flush()


def end_leftovers(folder: Path) -> None:
    """End processes of an earlier start whose guard was killed by force: those of its session that use this folder."""
    import psutil  # type: ignore[import-untyped]

    text = (folder / "up.json").read_text(encoding="utf-8")
    session = json.loads(text).get("session") if text else None
    for pid in guard.members(session) if session else []:
        try:
            if psutil.Process(pid).environ().get("AIRFLOW_HOME") == str(folder):
                guard.signal_process(pid, 9)
        except psutil.Error:
            continue


def clean_environment(home: Path, folder: Path) -> dict[str, str]:
    """The components' environment: this home, this interpreter's programs first, and no setting of another Airflow.

    All else passes as it is, what leads to the store among it: `AWS_…`, `HADOOP_…`, `JAVA_HOME`.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    loopback = "127.0.0.1,localhost"
    present = environment.get("NO_PROXY") or environment.get("no_proxy")
    no_proxy = f"{loopback},{present}" if present else loopback
    return environment | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONFIG": str(folder / "airflow.cfg"),
        "MILLRACE_HOME": str(home.absolute()),
        "MILLRACE_PIPELINES": str(pipelines_folder()),
        "MILLRACE_PROFILES": str(profiles_folder()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        "MILLRACE_PRELOAD": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS: tasks are forked
    }


def migrate(folder: Path, environment: dict[str, str]) -> None:
    """Create Airflow's database or bring it up to date, once per version of Airflow: it takes 8 s.

    Raises ServiceError with the end of the log.
    """
    done = folder / "database.version"
    version = metadata.version("apache-airflow-core")
    if (folder / "airflow.db").exists() and done.exists() and done.read_text(encoding="utf-8") == version:
        return
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with (folder / "logs" / "database.log").open("ab") as log:
        status = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status != 0:
        raise failure(folder, "Airflow's database can't be prepared", ["database"])
    done.write_text(version, encoding="utf-8")


def launch(folder: Path, environment: dict[str, str], lock: IO[str]) -> subprocess.Popen[bytes]:
    """Start the guard, and through it the components, in a session of their own."""
    commands = {name: [sys.executable, "-m", *words] for name, words in COMPONENTS.items()}
    request = json.dumps({"commands": commands, "logs": str(folder / "logs")})
    for name in [*COMPONENTS, "guard"]:
        (folder / "logs" / f"{name}.log").write_bytes(b"")
    with (folder / "logs" / "guard.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, guard.__file__, request],
            env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=[lock.fileno()],
        )  # fmt: skip


def wait_until_healthy(handle: Handle, deadline: float, progress: Progress) -> None:
    """Wait until all components report that they work; tells which one is awaited."""
    client = handle.client()
    awaited = None
    while (missing := client.unhealthy()) and handle.running:
        client.warm_up()
        if missing != awaited:
            progress(f"waiting for {', '.join(missing)}")
            awaited = missing
        if time.monotonic() > deadline:
            raise failure(handle.folder, f"Airflow isn't up in time: no {', '.join(missing)}")
        time.sleep(0.25)
    if not handle.running:
        raise failure(handle.folder, "Airflow didn't start")


def failure(folder: Path, message: str, names: list[str] | None = None) -> ServiceError:
    """A ServiceError that shows the end of the logs."""
    shown = []
    for name in names or ["guard", *COMPONENTS]:
        file = folder / "logs" / f"{name}.log"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        if lines:
            shown.append(f"--- {name}.log\n" + "\n".join(lines[-15:]))
    return ServiceError(message, hint=f"the logs are in {folder / 'logs'}\n" + "\n".join(shown))


def serve(port: int | None) -> None:
    """Start Airflow for people: prints progress, address and password, and ends with Ctrl-C or SIGTERM.

    Raises ServiceError where it can't start, or a component ends by itself.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, stop)
    try:
        with start(home_folder(), port, progress=say) as handle:
            print(f"\n  {handle.address}\n  user {handle.username}, password {handle.password}\n", flush=True)
            say(f"pipelines are read from {pipelines_folder()}; end with Ctrl-C")
            handle.wait()
    except KeyboardInterrupt:
        say("Airflow is stopped")
