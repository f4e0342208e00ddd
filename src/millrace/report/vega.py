"""The JavaScript that draws the charts: Vega, Vega-Lite and Vega-Embed in one text, kept beside the reports.

vl-convert carries it, so nothing is fetched; joining it takes some seconds, so it is done once per version.
"""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version
from pathlib import Path


def bundle(folder: Path | None = None) -> str:
    """The script, kept in `folder` for the next time; safe inside a `script` element."""
    kept = None if folder is None else folder / f"vega-{version('vl-convert-python')}.js"
    if kept is not None and kept.is_file():
        return kept.read_text(encoding="utf-8")
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")  # would end the script element
    if kept is not None:
        write_text(kept, text)
    return text


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
