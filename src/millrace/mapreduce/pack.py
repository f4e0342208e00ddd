"""The worker environment: this installation flows in, two archives that any node of this Python and system can use
flow out, once per version.

`environment-…` holds the packages that tasks import, as they are installed here; `millrace-…` holds Millrace itself,
which changes more often. Both go on a task's `PYTHONPATH`; a node needs nothing but the interpreter.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.metadata
import io
import re
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import Distribution
from pathlib import Path

import pyarrow.fs as pafs
import xxhash
from packaging.requirements import Requirement
from pydantic import BaseModel

import millrace
from millrace.errors import CorruptData, RequestError
from millrace.mapreduce.task import STAMP, interpreter, job_scripts
from millrace.storage.files import filesystem, open_output
from millrace.storage.refusals import write_refused

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
    *("xxhash", "rapidfuzz", "scikit-learn", "skops", "threadpoolctl", "pandas"),
)
"""What tasks import; what these need comes along. (Great Expectations, MLflow and Airflow work in the driver alone.)"""

LEFT_OUT = re.compile(
    r"(^|/)(tests?|include|__pycache__|testing/data)/|\.(pyc|pyx|pxd|h|hpp|lib|a)$|^\.\./"
    r"|botocore/data/(?!s3/|sts/|sso|[^/]+$)"
)
"""Tests, sources, and AWS services other than S3 and logins. (All of Arrow is linked with its RPC and query plans.)"""

FOLDER = "_packs"
"""Where the archives are, in the work folder."""

USED = ".used"
"""What is added to an archive's name for the file whose time says when a job last used it."""

DAY = timedelta(days=1)
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


def pack(folder: str, say: Callable[[str], None] = lambda words: None) -> Pack:
    """Make both archives and put them into a folder or URI, where they aren't there yet.

    Raises RequestError where a package that tasks need isn't installed, WorkError and CorruptData where an archive
    can't be written, or isn't read back as it was written.
    """
    packages, sources = _packages(), _sources()
    environment, code = _names(packages, sources)
    system, inside, prefix = filesystem(folder)
    _provide(system, f"{inside}/{environment}", lambda: _installed(packages), say)
    _provide(system, f"{inside}/{code}", lambda: iter(sources), say)
    return Pack(environment=f"{prefix}{inside}/{environment}", code=f"{prefix}{inside}/{code}")


def find(folder: str) -> list[pafs.FileInfo] | None:
    """The archives of this version in a folder or URI, if both are there."""
    system, inside, _ = filesystem(folder)
    found = system.get_file_info([f"{inside}/{name}" for name in _names(_packages(), _sources())])
    return found if all(info.size is not None for info in found) else None


def _names(packages: list[Distribution], sources: list[tuple[str, Path]]) -> tuple[str, str]:
    """The names of both archives: hashes of what is in them, and of the interpreter that they suit."""
    names = sorted(f"{each.name}=={each.version}" for each in packages)
    names += [interpreter(), LEFT_OUT.pattern]
    environment = f"environment-{_digest(*(name.encode() for name in names))}.tar.gz"
    code = (
        f"millrace-{_digest(*(text for name, path in sources for text in (name.encode(), path.read_bytes())))}.tar.gz"
    )
    return environment, code


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


def _provide(
    system: pafs.FileSystem, path: str, files: Callable[[], Iterator[tuple[str, Path]]], say: Callable[[str], None]
) -> None:
    """Make an archive unless it is there, and note that it is used."""
    archive, used = system.get_file_info([path, path + USED])
    if archive.size is None:
        with tempfile.TemporaryDirectory(prefix="millrace-pack-") as folder:
            local = Path(folder) / "pack.tar.gz"
            say(f"packing {path.rpartition('/')[2]}")
            _write(local, files())
            say(f"putting {local.stat().st_size / 1e6:,.0f} MB there")
            _put(local, system, path)
    if used.mtime is None or used.mtime < datetime.now(UTC) - DAY:
        with open_output(system, path + USED) as output:
            output.write(b"used")


def _write(path: Path, files: Iterator[tuple[str, Path]]) -> None:
    """An archive of files; the same files are the same bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        stamp = interpreter().encode()
        archive.addfile(_entry(STAMP, len(stamp)), io.BytesIO(stamp))
        for name, file in sorted(files):
            with file.open("rb") as content:
                archive.addfile(_entry(name, file.stat().st_size, file.stat().st_mode), content)


def _entry(name: str, size: int, mode: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o755 if mode & 0o100 else 0o644
    return entry


def _put(local: Path, system: pafs.FileSystem, path: str) -> None:
    """Put a file on the store under its name, once it lies there whole.

    Of packers at the same time, the first one's stays: YARN refuses an archive that changed since its job began.
    """
    draft = f"{path}.{uuid.uuid4().hex}.tmp"
    expected = xxhash.xxh64()
    try:
        with local.open("rb") as content, open_output(system, draft) as output:
            while block := content.read(BLOCK):
                expected.update(block)
                output.write(block)
        found = xxhash.xxh64()
        with system.open_input_stream(draft, compression=None) as stored:
            while block := stored.read(BLOCK):
                found.update(block)
        if found.digest() != expected.digest():
            raise CorruptData("the worker environment isn't read back as it was written", found=path, hint="try again")
        if system.get_file_info(path).size is None:
            system.move(draft, path)
    except OSError as error:
        raise write_refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            system.delete_file(draft)
