"""A part of a table whose rows are gone, as a disk would ruin it: its name, size and footer are as they were."""

from __future__ import annotations

from pathlib import Path

from millrace.storage.files import filesystem, write_file
from millrace.storage.tables import Table


def spoil(table: Table) -> str:
    """Overwrite the rows of a table's first part; returns the name of its file."""
    uri = f"{table.uri}/{min(part.path for part in table.parts())}"
    system, path, _ = filesystem(uri)
    with system.open_input_file(path) as file:
        content = file.read()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    write_file(uri, content[:4] + bytes(len(content) - 4 - footer) + content[-footer:])
    return Path(path).name
