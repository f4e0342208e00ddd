"""Input files by path or URI: what flows out is a sorted list of `SourceFile`, or an open file.

A local path, ``file://``, ``s3://`` and ``hdfs://`` go through the same door, `filesystem`. Local paths become
absolute, so that they mean the same in a task that runs in another folder.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from millrace.errors import InputError
from millrace.storage import object_store
from millrace.storage.refusals import outage

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, order=True)
class SourceFile:
    """One input file: its absolute path or URI, its bytes, and a fingerprint that changes when the file does."""

    path: str
    size: int
    fingerprint: str


def filesystem(uri: str) -> tuple[pafs.FileSystem, str, str]:
    """The file system of a path or URI, the path inside it, and the prefix that makes the path a full name again.

    Raises InputError where no file system answers to the URI.

    >>> filesystem("/data/clicks")[1:]
    ('/data/clicks', '')
    """
    scheme = SCHEME.match(uri)
    if not scheme:
        absolute = os.path.normpath(Path(uri).expanduser().absolute())
        return pafs.LocalFileSystem(), Path(absolute).as_posix(), ""
    if scheme.group(1).lower() == "file":
        return filesystem(unquote(uri[scheme.end() :]))
    rest = uri[scheme.end() :]
    if scheme.group(1).lower() in ("s3", "s3a", "s3n"):
        return object_store.s3(), rest.rstrip("/"), scheme.group()
    if scheme.group(1).lower() == "hdfs":
        namenode, _, path = rest.partition("/")
        return object_store.hdfs(namenode), path.rstrip("/"), f"{scheme.group()}{namenode}/"
    raise InputError("no store for this address", expected="a path, file://, s3:// or hdfs://", found=repr(uri))


def table_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system that holds a folder or table, and the prefix that makes a path below it a path inside."""
    system, path, _ = filesystem(uri)
    return system, f"{path.rstrip('/')}/"


def open_output(system: pafs.FileSystem, path: str) -> pa.NativeFile:
    """A new file for writing, its folders made where the file system has any."""
    if system.type_name == "local":
        system.create_dir(path.rpartition("/")[0], recursive=True)
    return system.open_output_stream(path, compression=None)


def exists(uri: str) -> bool:
    """Whether there is a file at a path or URI."""
    system, path, _ = filesystem(uri)
    return system.get_file_info(path).type == pafs.FileType.File


def write_file(uri: str, content: bytes) -> None:
    """Write a small file at a path or URI, whole or not at all."""
    system, path, _ = filesystem(uri)
    if system.type_name == "s3":  # an object is there when it is whole
        with open_output(system, path) as file:
            file.write(content)
        return
    folder, _, name = path.rpartition("/")
    draft = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
    try:
        with open_output(system, draft) as file:
            file.write(content)
        system.move(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            system.delete_file(draft)
        raise


def copy_folder(folder: Path, uri: str) -> None:
    """Copy the files of a local folder below a path or URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_file(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def list_files(uris: str | Sequence[str]) -> list[SourceFile]:
    """All input files that the paths, URIs and globs name, each once, sorted by path.

    A folder stands for the files below it at any depth; files and folders whose names begin with ``.`` or ``_`` are
    left out there and by globs (``*``, ``?``, ``[abc]``, and ``**`` for any depth), but a file named in full is taken.

    Raises InputError for a missing file (with the nearest name), an unreadable folder, or a pattern without a match.
    """
    found: dict[str, SourceFile] = {}
    for uri in [uris] if isinstance(uris, str) else uris:
        system, path, prefix = filesystem(uri)
        with _Readable(uri):
            for info in _select(system, path, prefix, uri):
                source = _source(info, prefix)
                found[source.path] = source
    return [found[path] for path in sorted(found)]


def open_input(path: str) -> pa.NativeFile:
    """Open a file for random access, bytes as they are (no decompression).

    Raises InputError where it is missing or can't be read.
    """
    system, inside, prefix = filesystem(path)
    with _Readable(path):
        info = system.get_file_info(inside)
        if info.type == pafs.FileType.NotFound:
            raise _missing(system, inside, prefix, path)
        if info.type == pafs.FileType.Directory:
            raise InputError("not a file", expected="a file", found=f"the folder {path!r}")
        return system.open_input_file(inside)


class _Readable:
    """Turns the operating system's refusals into an InputError that names what was asked for; an outage of the store
    into a ServiceError, since the same request may succeed."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PermissionError):
            hint = f"let this user read it ({str(error).split('. Detail')[0]})"
            raise InputError("no permission to read", found=repr(self.uri), hint=hint) from error
        if isinstance(error, OSError) and (away := outage(self.uri, error)):
            raise away from error
        if isinstance(error, OSError):
            raise InputError("can't be read", found=repr(self.uri), hint=str(error)) from error


def _source(info: pafs.FileInfo, prefix: str) -> SourceFile:
    path = prefix + info.path
    fingerprint = xxhash.xxh64_hexdigest(f"{path}\0{info.size}\0{info.mtime_ns}".encode())
    return SourceFile(path, info.size, fingerprint)


def _select(system: pafs.FileSystem, path: str, prefix: str, uri: str) -> list[pafs.FileInfo]:
    """The files that one path or pattern names; a path that exists is never taken for a pattern."""
    info = system.get_file_info(path)
    if info.type == pafs.FileType.File:
        return [info]
    if info.type == pafs.FileType.Directory:
        files = list(_below(system, path))
        if not files:
            raise InputError("the folder holds no files", found=repr(uri), hint="names with . or _ first don't count")
        return files
    if info.type == pafs.FileType.NotFound and MAGIC.search(path):
        files = [file for match in _expand(system, path) for file in _files_of(system, match)]
        if not files:
            raise InputError("no file matches the pattern", found=repr(uri), hint=_nearest(system, path, prefix))
        return files
    if info.type == pafs.FileType.NotFound:
        raise _missing(system, path, prefix, uri)
    raise InputError("not a file or folder", found=repr(uri))


def _files_of(system: pafs.FileSystem, info: pafs.FileInfo) -> Iterator[pafs.FileInfo]:
    if info.type == pafs.FileType.Directory:
        yield from _below(system, info.path)
    elif info.type == pafs.FileType.File:
        yield info


def _below(system: pafs.FileSystem, folder: str) -> Iterator[pafs.FileInfo]:
    """All files below a folder."""
    for info in _visible(system.get_file_info(pafs.FileSelector(folder))):
        yield from _files_of(system, info)


def _visible(infos: Iterable[pafs.FileInfo]) -> list[pafs.FileInfo]:
    return [info for info in infos if not info.base_name.startswith((".", "_"))]


def _expand(system: pafs.FileSystem, pattern: str) -> Iterator[pafs.FileInfo]:
    """What a glob matches, one path component at a time, so that only folders that can match are listed."""
    parts = pattern.split("/")
    fixed = next(index for index, part in enumerate(parts) if MAGIC.search(part))
    base = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "")
    if system.get_file_info(base).type == pafs.FileType.Directory:
        yield from _match(system, base, parts[fixed:])


def _match(system: pafs.FileSystem, folder: str, parts: Sequence[str]) -> Iterator[pafs.FileInfo]:
    head, rest = parts[0], parts[1:]
    if head == "**" and rest:
        yield from _match(system, folder, rest)
    for info in _visible(system.get_file_info(pafs.FileSelector(folder))):
        is_folder = info.type == pafs.FileType.Directory
        if head == "**":
            if is_folder:
                yield from _match(system, info.path, parts)
            elif not rest:
                yield info
        elif fnmatchcase(info.base_name, head):
            if not rest:
                yield info
            elif is_folder:
                yield from _match(system, info.path, rest)


def _missing(system: pafs.FileSystem, path: str, prefix: str, uri: str) -> InputError:
    return InputError("no such file or folder", found=repr(uri), hint=_nearest(system, path, prefix))


def _nearest(system: pafs.FileSystem, path: str, prefix: str) -> str | None:
    """The deepest part of the path that is there, and the name in it that is most like what was asked for."""
    parent, _, name = path.rstrip("/").rpartition("/")
    while parent and (MAGIC.search(parent) or system.get_file_info(parent).type != pafs.FileType.Directory):
        parent, _, name = parent.rpartition("/")
    if not parent:
        return None
    names = [info.base_name for info in system.get_file_info(pafs.FileSelector(parent))]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {prefix}{parent}/{close[0]!s}?"
    return f"{prefix}{parent} holds {len(names)} other names" if names else f"{prefix}{parent} is empty"
