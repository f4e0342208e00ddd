"""The JavaScript that draws the charts: Vega, Vega-Lite and Vega-Embed in one text, kept beside the reports.

vl-convert carries it, so nothing is fetched; joining it takes some seconds, so it is done once per version.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from millrace.storage.files import write_file


def bundle(folder: Path | None = None) -> str:
    """The script, kept in `folder` for the next time; safe inside a `script` element."""
    kept = None if folder is None else folder / f"vega-{version('vl-convert-python')}.js"
    if kept is not None and kept.is_file():
        return kept.read_text(encoding="utf-8")
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")  # would end the script element
    if kept is not None:
        write_file(str(kept), text.encode())
    return text
