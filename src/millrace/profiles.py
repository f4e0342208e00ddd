"""Where a pipeline runs: store, runner, registry and cluster options, by the name of a profile.

The embedded profile ``local`` needs no file and no server; every other is ``profiles/<name>.yaml``. `MILLRACE_HOME`
(default ``.millrace``) holds what stays on this machine.

Keys and secrets never stand in a profile: they come from the environment (``AWS_ACCESS_KEY_ID``…), where every client
of S3 looks for them. `load_profile` puts the store's address there too, so that one process works on one store and no
plan, manifest, command line or table ever holds a key.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from millrace.errors import ProfileError
from millrace.runner_names import RUNNERS, Runner

VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _texts(value: object) -> object:
    """YAML reads `true` and `3` as they are; settings of Hadoop and Spark are texts."""
    if isinstance(value, Mapping):
        return {str(key): str(each).lower() if isinstance(each, bool) else str(each) for key, each in value.items()}
    return value


Texts = Annotated[dict[str, str], BeforeValidator(_texts)]


class Section(BaseModel):
    """Base: unknown keys are mistakes, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class S3(Section):
    """Where S3 is, if it isn't Amazon's; the keys come from the environment."""

    endpoint: str | None = Field(None, description="such as http://127.0.0.1:9000; Amazon's own where absent")
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """What points the clients of S3 (Arrow, deltalake, boto3) to this address."""
        found = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        if self.endpoint is not None:
            found |= {"AWS_ENDPOINT_URL": self.endpoint}
            found |= {"AWS_ALLOW_HTTP": "true"} if self.endpoint.startswith("http://") else {}
        return found


class Hadoop(Section):
    """A Hadoop cluster: its client on this machine, and settings of every job."""

    bin: str = Field("hadoop", description="the hadoop command")
    streaming_jar: str | None = Field(None, description="hadoop-streaming-*.jar; searched below HADOOP_HOME if absent")
    python: str = Field("python3", description="the interpreter on the nodes: of this Python's version")
    jobconf: Texts = {}


class Spark(Section):
    """A Spark cluster (or ``local[N]``), and settings of every job."""

    master: str = "local[*]"
    deploy_mode: Literal["client", "cluster"] | None = None
    submit: str | None = Field(None, description="the spark-submit command; PySpark's own if absent")
    python: str | None = Field(None, description="the interpreter on the nodes; this one's if absent")
    conf: Texts = {}


class Emr(Section):
    """How a cluster on Amazon EMR is found or made; see `docs/emr.md` for the combination that is tested."""

    release: str = "emr-7.12.0"
    cluster_id: str | None = Field(None, description="a running cluster; else one of the pool, else a new one")
    pool: str | None = Field("millrace", description="the stages of a run share the clusters of this pool")
    instance_type: str = "m6i.xlarge"
    instances: int = Field(2, ge=1, description="core nodes")
    instance_fleets: list[dict[str, Any]] | None = Field(None, description="as EMR's API takes them; spot among them")
    instance_groups: list[dict[str, Any]] | None = None
    scaling: dict[str, Any] | None = Field(None, description="managed scaling's ComputeLimits, as EMR's API takes them")
    idle_minutes: float = Field(10, gt=0, description="an idle cluster ends itself after this time")
    subnet: str | None = None
    service_role: str | None = None
    instance_profile: str | None = None
    log_uri: str | None = None
    tags: Texts = {}
    bootstrap: list[str] = Field([], description="shell commands on each node, before the first job")
    python: str = Field("python3.11", description="the interpreter on the nodes")
    jobconf: Texts = {}
    streaming_jar: str | None = Field(None, description="the cluster's own where absent")
    poll_seconds: float = Field(20, gt=0, description="how often a step is asked for its state")


class Profile(Section):
    """Storage root (a folder or URI), mrjob runner, MLflow registry URI, and the home folder for local state."""

    name: str
    home: Path
    root: str = Field(description="where tables, models, reports and shuffle files live")
    work: str | None = Field(None, description="where a cluster's jobs keep their files; below `root` where absent")
    runner: Runner = "local"
    registry: str
    tasks: int | None = Field(None, ge=1, description="map tasks at most, and reduce tasks; one per core where absent")
    split_bytes: int = Field(64 << 20, ge=1, description="plain files of more bytes are cut: what one map call reads")
    s3: S3 = S3()
    hadoop: Hadoop = Hadoop()
    spark: Spark = Spark()
    emr: Emr = Emr()

    def table_uri(self, pipeline: str, stage: str) -> str:
        """Where the table of a stage is: ``<root>/<pipeline>/<stage>``."""
        return f"{self.root}/{pipeline}/{stage}"

    @property
    def models(self) -> str:
        """Where model files live: on the store, if the tables do."""
        return f"{self.root}/_models" if "://" in self.root else str(self.home / "mlflow-artifacts")

    @property
    def reports(self) -> str:
        """Where reports live: on the store, if the tables do."""
        return f"{self.root}/_reports" if "://" in self.root else str(self.home / "reports")

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to reach the store; no secret is in it."""
        uris = (self.root, self.work or "")
        return self.s3.environment if self.s3 != S3() or any(uri.startswith("s3://") for uri in uris) else {}


def home() -> Path:
    """`MILLRACE_HOME` as an absolute path."""
    return Path(os.environ.get("MILLRACE_HOME", ".millrace")).absolute()


def pipelines_folder() -> Path:
    """`MILLRACE_PIPELINES` as an absolute path."""
    return Path(os.environ.get("MILLRACE_PIPELINES", "pipelines")).absolute()


def profiles_folder() -> Path:
    """`MILLRACE_PROFILES` as an absolute path."""
    return Path(os.environ.get("MILLRACE_PROFILES", "profiles")).absolute()


def load_profile(name: str | None = None) -> Profile:
    """The profile of this name, or of `MILLRACE_PROFILE`, or ``local``; and point this process at its store.

    Raises ProfileError for an unknown name, a variable that isn't set, and settings that are wrong, all at once.
    """
    name = name or os.environ.get("MILLRACE_PROFILE") or "local"
    base = home()
    settings: dict[str, Any] = {
        "name": name,
        "home": base,
        "root": str(base / "tables"),
        "registry": f"sqlite:///{base / 'mlflow.db'}",
    }
    if name != "local":
        settings |= _read(name)
    try:
        profile = Profile.model_validate(settings | {"root": str(settings["root"]).rstrip("/")})
    except ValidationError as error:
        raise ProfileError(_listing(name, error)) from None
    check_reach(profile)
    os.environ.update(profile.environment)
    return profile


def _read(name: str) -> dict[str, Any]:
    folder = profiles_folder()
    path = folder / f"{name}.yaml"
    known = ["local", *sorted(each.stem for each in folder.glob("*.yaml"))]
    if not path.exists():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"write {path}, or set MILLRACE_PROFILES"
        raise ProfileError("unknown profile", expected=f"one of {', '.join(known)}", found=repr(name), hint=hint)
    try:
        document = YAML(typ="safe").load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} isn't YAML", found=str(error).split("\n")[0]) from None
    if not isinstance(document, dict):
        raise ProfileError(f"{path} is no profile", expected="keys such as root, runner", found=repr(document)[:80])
    missing: list[str] = []
    expanded: dict[str, Any] = _expanded(document, missing)
    if missing:
        raise ProfileError(
            f"the profile {name} needs variables that aren't set",
            found=", ".join(sorted(set(missing))),
            hint=f"set them, or write their values into {path}",
        )
    return expanded


def _expanded(value: Any, missing: list[str]) -> Any:
    """``${NAME}`` and ``${NAME:-default}`` in texts become the environment's values.

    An empty setting (what is left of ``${NAME:-}``) is as good as not written: its own default holds.
    """
    if isinstance(value, dict):
        found = {key: _expanded(each, missing) for key, each in value.items()}
        return {key: each for key, each in found.items() if each != ""}
    if isinstance(value, list):
        return [_expanded(each, missing) for each in value]
    if not isinstance(value, str):
        return value

    def known(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or match[2]
        if found is None:
            missing.append(match[1])
        return found or ""

    return VARIABLE.sub(known, value)


def _listing(name: str, error: ValidationError) -> str:
    lines = []
    for each in error.errors():
        where = ".".join(map(str, each["loc"]))
        known = list(Profile.model_fields)
        near = difflib.get_close_matches(str(each["loc"][-1]), known, n=1) if each["type"] == "extra_forbidden" else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        lines.append(f"  {where}: {each['msg']}, found {str(each['input'])[:80]!r}{hint}")
    return f"the profile {name} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}\n" + "\n".join(lines)


def usable_runners(profile: Profile) -> tuple[str, ...]:
    """The runners whose tasks reach the profile's tables, whatever its own runner is."""
    nodes = ("hadoop", "emr", *(() if "local" in profile.spark.master else ("spark",)))
    shared = "://" in profile.root and not profile.root.startswith("file://")
    return tuple(runner for runner in RUNNERS if shared or runner not in nodes)


def check_reach(profile: Profile) -> None:
    """Raise ProfileError where the runner's tasks work on other machines and the tables are on this one's disk."""
    usable = usable_runners(profile)
    if profile.runner not in usable:
        raise ProfileError(
            f"{profile.runner} can't run with the profile {profile.name}, which keeps its tables on this machine",
            expected="a root that all nodes reach, such as hdfs:// or s3://",
            found=profile.root,
            hint=f"name another profile, or another runner: {', '.join(usable)}",
        )
