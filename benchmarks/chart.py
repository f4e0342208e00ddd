"""A picture of the figures: how many times Millrace's seconds each contender takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.work import MILLRACE


def chart(document: Mapping[str, Any]) -> str:
    """An SVG: a line for each piece of work, a dot for each contender, on a logarithmic scale."""
    import altair as alt
    import vl_convert

    rows = [
        {"work": work["title"], "who": name, "ratio": facts["seconds"] / work["contenders"][MILLRACE]["seconds"]}
        for work in document["works"]
        for name, facts in work["contenders"].items()
    ]
    order = [work["title"] for work in document["works"]]
    names = list(dict.fromkeys(row["who"] for row in rows))
    dots = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, size=90, opacity=0.85)
        .encode(
            x=alt.X("ratio:Q", scale=alt.Scale(type="log"), title="seconds, as a multiple of Millrace's"),
            y=alt.Y("work:N", sort=order, title=None, axis=alt.Axis(labelLimit=400, grid=True)),
            color=alt.Color("who:N", sort=names, title=None, scale=alt.Scale(scheme="tableau10")),
            shape=alt.Shape("who:N", sort=names, title=None),
        )
    )
    line = alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(strokeDash=[4, 3]).encode(x="one:Q")
    spec = alt.layer(line, dots).properties(width=560, height=30 * len(order), background="white")
    return str(vl_convert.vegalite_to_svg(spec.to_dict()))
