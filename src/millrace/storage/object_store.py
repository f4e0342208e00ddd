"""deltalake's own store (s3, hdfs, …) as an Arrow file system, rooted at one table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from deltalake.fs import DeltaStorageHandler


class StoreHandler(DeltaStorageHandler):
    """deltalake's handler, whose output takes only `bytes` where Arrow hands it buffers."""

    def open_output_stream(self, path: str, metadata: dict[str, str] | None = None) -> pa.PythonFile:
        """Open a new object for writing."""
        return pa.PythonFile(_Bytes(self._handler.open_output_stream(path, metadata)), mode="w")


class _Bytes:
    """An output that turns every buffer into bytes."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self.closed = False

    def write(self, data: Any) -> int:
        self._output.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        self.closed = True
        self._output.close()
