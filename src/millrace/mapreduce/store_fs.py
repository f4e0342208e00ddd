"""mrjob's file system on Millrace's own store clients: mrjob would start a JVM for every look at HDFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
from mrjob.fs.base import Filesystem

from millrace.storage.files import filesystem, open_output

STORES = ("s3://", "s3a://", "s3n://", "hdfs://", "file://")


class StoreFilesystem(Filesystem):
    """Files by URI. `hadoop_bin` is what mrjob asks the file system for, of all."""

    def __init__(self, hadoop_bin: list[str]) -> None:
        self._hadoop_bin = hadoop_bin

    def get_hadoop_bin(self) -> list[str]:
        """The hadoop command and its first arguments."""
        return self._hadoop_bin

    def get_hadoop_version(self) -> str:
        """Which names mrjob uses for settings; all of Hadoop 3 are alike in them."""
        return "3.0.0"

    def can_handle_path(self, path: str) -> bool:
        return path.startswith(STORES)  # of a failed step's logs, mrjob would fetch those that ssh leads to

    def exists(self, path_glob: str) -> bool:
        system, path, _ = filesystem(path_glob)
        return system.get_file_info(path).type != pafs.FileType.NotFound

    def mkdir(self, path: str) -> None:
        """Folders come with the files in them."""

    def put(self, src: str, path: str) -> None:
        system, inside, _ = filesystem(path)
        with open_output(system, inside) as output:
            output.write(Path(src).read_bytes())

    def ls(self, path_glob: str) -> Iterator[str]:
        system, path, prefix = filesystem(path_glob)
        if system.get_file_info(path).type == pafs.FileType.File:
            yield path_glob
            return
        selector = pafs.FileSelector(path, allow_not_found=True, recursive=True)
        for info in system.get_file_info(selector):
            if info.type == pafs.FileType.File:
                yield prefix + info.path

    def _cat_file(self, path: str) -> Iterator[bytes]:
        system, inside, _ = filesystem(path)
        with system.open_input_stream(inside, compression="detect") as stream:  # EMR's logs are gzipped
            yield stream.read()

    def rm(self, path_glob: str) -> None:
        remove(path_glob)


def remove(uri: str) -> None:
    """Remove a folder and all in it, or a file, if it is there."""
    system, path, _ = filesystem(uri)
    info = system.get_file_info(path)
    if info.type == pafs.FileType.Directory:
        system.delete_dir(path)
    elif info.type == pafs.FileType.File:
        system.delete_file(path)
