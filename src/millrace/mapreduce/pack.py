"""The worker environment: this installation flows in, two archives that any node of this Python and system can use
flow out, once per version.

`environment-…` holds the packages that tasks import, as they are installed here; `millrace-…` holds Millrace itself,
which changes more often. Both go on a task's `PYTHONPATH`; a node needs nothing but the interpreter.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import platform
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pyarrow.fs as pafs
from packaging.requirements import Requirement
from pydantic import BaseModel

import millrace
from millrace.errors import RequestError
from millrace.mapreduce.task import job_scripts
from millrace.storage.files import filesystem, open_output

NEEDED = (
    *(
        "mrjob",
        "setuptools",
        "pydantic",
        "ruamel.yaml",
        "pyarrow",
        "polars",
        "numpy",
        "deltalake",
        "boto3",
        "datasketches",
    ),
    *("xxhash", "rapidfuzz", "scikit-learn", "skops", "threadpoolctl"),
)
"""What tasks import; what these need comes along. (Great Expectations, MLflow and Airflow work in the driver alone.)"""

LEFT_OUT = re.compile(r"(^|/)(tests?|include|__pycache__|testing/data)/|\.(pyc|pyx|pxd|h|hpp|lib|a)$|^\.\./")
BLOCK = 8 << 20


class Pack(BaseModel):
    """The archives of one environment: their paths or URIs, and the names of the folders they become in a task."""

    environment: str
    code: str

    @property
    def archives(self) -> list[str]:
        """As Hadoop and Spark take them: URI#folder."""
        return [f"{self.environment}#environment", f"{self.code}#millrace"]

    @property
    def python_path(self) -> str:
        """`PYTHONPATH` of a task that has both folders."""
        return "./millrace:./environment"


def pack(folder: str) -> Pack:
    """Make both archives and put them into a folder or URI, where they aren't there yet.

    Raises RequestError where a package that tasks need isn't installed.
    """
    packages = _packages()
    names = sorted(f"{each.name}=={each.version}" for each in packages)
    names.append(f"{sys.implementation.cache_tag} {sys.platform} {platform.machine()}")
    environment = f"environment-{_digest(*(name.encode() for name in names))}.tar.gz"
    sources = _sources()
    code = (
        f"millrace-{_digest(*(text for name, path in sources for text in (name.encode(), path.read_bytes())))}.tar.gz"
    )
    system, inside, prefix = filesystem(folder)
    _store(system, f"{inside}/{environment}", lambda: _installed(packages))
    _store(system, f"{inside}/{code}", lambda: iter(sources))
    return Pack(environment=f"{prefix}{inside}/{environment}", code=f"{prefix}{inside}/{code}")


def _packages() -> list[Distribution]:
    """The distributions that tasks need, each once."""
    found: dict[str, Distribution] = {}
    waiting = list(NEEDED)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise RequestError("can't pack the worker environment", found=f"no package {name} installed") from None
        needs = map(Requirement, found[name].requires or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found)]


def _installed(packages: list[Distribution]) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of every file that running needs."""
    for package in packages:
        for file in package.files or ():
            path = Path(str(file.locate()))
            if not LEFT_OUT.search(file.as_posix()) and path.is_file():
                yield file.as_posix(), path


def _sources() -> list[tuple[str, Path]]:
    """Millrace's own files, and the job scripts."""
    roots = (Path(str(millrace.__file__)).parent, job_scripts())
    return sorted(
        (path.relative_to(root.parent).as_posix(), path)
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not LEFT_OUT.search(path.relative_to(root).as_posix())
    )


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:16]


def _store(system: pafs.FileSystem, path: str, files: Callable[[], Iterator[tuple[str, Path]]]) -> None:
    """Write an archive under its name, whole or not at all; the same content is the same bytes."""
    if system.get_file_info(path).size is not None:
        return
    with tempfile.TemporaryDirectory(prefix="millrace-pack-") as folder:
        local = Path(folder) / "pack.tar.gz"
        with (
            local.open("wb") as raw,
            gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for name, file in sorted(files()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = file.stat().st_size, 0o755 if file.stat().st_mode & 0o100 else 0o644
                with file.open("rb") as content:
                    archive.addfile(entry, content)
        with local.open("rb") as content, open_output(system, path) as output:
            while block := content.read(BLOCK):
                output.write(block)
