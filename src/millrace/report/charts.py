"""Charts: rows of plain figures in, Vega-Lite specifications out. What comes from data is only ever a value in them.

Sizes and colours of text belong to the page (light and dark); here are only the colours that carry a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.report.distributions import MISSING, OTHERS, Distribution

BLUE, ORANGE, GREY, RED, GREEN, YELLOW = "#4285d6", "#e07b00", "#8a97a6", "#d1495b", "#2a9d74", "#d9a514"
HEIGHT = 200
Row = Mapping[str, Any]


def stacked(
    rows: Sequence[Row], places: Mapping[str, str], *, order: Sequence[str], across: bool, title: str = "rows"
) -> dict[str, Any]:
    """Stacked bars of ``rows`` by ``what`` and ``place``; `places` maps a place to its colour, in stacking order.

    `across`: bars lie (few, with names); else they stand (many, in time).
    """
    import altair as alt

    used = {place: colour for place, colour in places.items() if any(row["place"] == place for row in rows)}
    ranked = [{**row, "rank": list(places).index(row["place"])} for row in rows]
    names = {"sort": list(order), "title": None}
    amount = {"title": title, "axis": alt.Axis(format=",d", tickCount=5)}
    axes = (
        {"y": alt.Y("what:N", **names, axis=alt.Axis(labelLimit=220)), "x": alt.X("rows:Q", **amount)}
        if across
        else {"x": alt.X("what:O", **names, axis=_time_axis(order)), "y": alt.Y("rows:Q", **amount)}
    )
    chart = (
        alt.Chart(_data(ranked))
        .mark_bar()
        .encode(
            **axes,
            color=alt.Color("place:N", scale=_scale(used), title=None, legend=_legend(used)),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("what:N", title="of"),
                alt.Tooltip("place:N", title="are"),
                alt.Tooltip("rows:Q", format=",", title="rows"),
            ],
        )
    )
    return _spec(chart, height=26 * len(order) if across else HEIGHT)


def lying_bars(rows: Sequence[Row], title: str, *, limit: float | None = None, format: str = ",") -> dict[str, Any]:
    """One bar per ``name`` with its ``value``, in the order given; those with ``odd`` stand out; a line at `limit`."""
    import altair as alt

    bars = (
        alt.Chart(_data(rows))
        .mark_bar()
        .encode(
            y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            x=alt.X("value:Q", title=title, axis=alt.Axis(tickCount=5)),
            color=alt.condition("datum.odd", alt.value(RED), alt.value(BLUE)),
            tooltip=[alt.Tooltip("name:N", title="of"), alt.Tooltip("value:Q", format=format, title=title)],
        )
    )
    layers = [bars]
    if limit is not None:
        layers.append(_rule("x", limit))
    return _spec(alt.layer(*layers), height=_lines(rows, 22))


def distribution(found: Distribution, colours: Mapping[str, str]) -> dict[str, Any]:
    """The sides of a distribution over each other (numbers: steps) or beside each other (values: bars)."""
    return _steps(found, colours) if found.numbers else _values(found, colours)


def _steps(found: Distribution, colours: Mapping[str, str]) -> dict[str, Any]:
    import altair as alt

    rows = [
        {"at": at, "share": bar.shares[side], "side": side, "bin": bar.label}
        for side in found.sides
        for bar in [*found.bars]
        for at in ([bar.low] if bar is not found.bars[-1] else [bar.low, bar.high])
    ]
    scale = alt.Scale(type="log", nice=False) if found.log else alt.Scale(zero=False, nice=False)
    base = alt.Chart(_data(rows)).encode(
        x=alt.X(
            "at:Q",
            title=None,
            scale=scale,
            axis=alt.Axis(tickCount=6, format="~s") if found.log else alt.Axis(tickCount=6),
        ),
        y=alt.Y("share:Q", title="share of rows", stack=None, axis=alt.Axis(format="~%", tickCount=4)),
        color=alt.Color("side:N", scale=_scale(colours), title=None, legend=_legend(colours)),
        tooltip=[
            alt.Tooltip("side:N", title="side"),
            alt.Tooltip("bin:N", title="values"),
            alt.Tooltip("share:Q", format=".2%", title="share of rows"),
        ],
    )
    area = base.mark_area(interpolate="step-after", opacity=0.18)
    line = base.mark_line(interpolate="step-after", strokeWidth=1.8)
    return _spec(alt.layer(area, line), height=150)


def _values(found: Distribution, colours: Mapping[str, str]) -> dict[str, Any]:
    bars = [bar for bar in found.bars if not (bar.label == OTHERS and min(bar.shares.values()) > 0.5)]
    rows = [{"name": bar.label, "share": bar.shares[side], "side": side} for bar in bars for side in found.sides] + [
        {"name": MISSING, "share": share, "side": side}
        for side, share in found.missing.items()
        if any(found.missing.values())
    ]
    return paired_bars(rows, colours, "share of rows")


def paired_bars(rows: Sequence[Row], colours: Mapping[str, str], title: str) -> dict[str, Any]:
    """For each ``name`` one lying bar per ``side`` with its ``share``."""
    import altair as alt

    chart = (
        alt.Chart(_data(rows))
        .mark_bar()
        .encode(
            y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=160)),
            yOffset=alt.YOffset("side:N", sort=list(colours)),
            x=alt.X("share:Q", title=title, axis=alt.Axis(format="~%", tickCount=4)),
            color=alt.Color("side:N", scale=_scale(colours), title=None, legend=_legend(colours)),
            tooltip=[
                alt.Tooltip("side:N", title="side"),
                alt.Tooltip("name:N", title="value"),
                alt.Tooltip("share:Q", format=".2%", title=title),
            ],
        )
    )
    return _spec(chart, height=_lines(rows, 10 * len(colours) + 5))


def line_in_time(rows: Sequence[Row], title: str, *, split: str | None = None, format: str = "~%") -> dict[str, Any]:
    """A line of ``value`` over ``interval``, with a band from ``low`` to ``high`` where rows hold them.

    `split`: the first interval of the window's recent half. Rows with ``odd`` have a filled point.
    """
    import altair as alt

    order = [row["interval"] for row in rows]
    base = alt.Chart(_data(rows)).encode(x=alt.X("interval:O", sort=order, title=None, axis=_time_axis(order)))
    scale = alt.Scale(zero=False)
    layers = []
    if any(row.get("low") is not None for row in rows):
        layers.append(
            base.mark_rule(color=GREY, strokeWidth=2).encode(
                y=alt.Y("low:Q", title=title, scale=scale), y2=alt.Y2("high:Q")
            )
        )
    axis = alt.Axis(format=format, tickCount=5)
    layers.append(base.mark_line(color=BLUE).encode(y=alt.Y("value:Q", title=title, scale=scale, axis=axis)))
    layers.append(
        base.mark_point(size=40, filled=True, opacity=1).encode(
            y=alt.Y("value:Q", title=title, scale=scale),
            color=alt.condition("datum.odd", alt.value(ORANGE), alt.value(BLUE)),
            tooltip=[alt.Tooltip("words:N", title="of")],
        )
    )
    if split is not None:
        layers.append(base.mark_rule(strokeDash=[4, 4], color=GREY).transform_filter(alt.datum.interval == split))
    return _spec(alt.layer(*layers), height=HEIGHT)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], colours: Mapping[str, str], axes: tuple[str, str], chance: Any
) -> dict[str, Any]:
    """A line per side in the unit square. `chance`: ``"diagonal"``, or the height of a level line."""
    import altair as alt

    rows = [
        {"x": x, "y": y, "side": side, "rank": rank}
        for side, points in lines.items()
        for rank, (x, y) in enumerate(points)
    ]
    used = {side: colours[side] for side in lines}
    unit = alt.Scale(domain=[0, 1], nice=False)
    drawn = (
        alt.Chart(_data(rows))
        .mark_line(strokeWidth=2, interpolate="linear")
        .encode(
            x=alt.X("x:Q", title=axes[0], scale=unit),
            y=alt.Y("y:Q", title=axes[1], scale=unit),
            order=alt.Order("rank:Q"),
            color=alt.Color("side:N", scale=_scale(used), title=None, legend=_legend(used, "stroke")),
            tooltip=[
                alt.Tooltip("side:N", title="model"),
                alt.Tooltip("x:Q", format=".3f", title=axes[0]),
                alt.Tooltip("y:Q", format=".3f", title=axes[1]),
            ],
        )
    )
    base = _diagonal(1.0) if chance == "diagonal" else _rule("y", float(chance))
    return _spec(alt.layer(base, drawn), height=260)


def calibration(rows: Sequence[Row], colours: Mapping[str, str], log: bool) -> dict[str, Any]:
    """``observed`` against ``predicted`` by ``side``; on the diagonal, probabilities mean what they say."""
    import altair as alt

    shown = [row for row in rows if not log or (row["predicted"] > 0 and row["observed"] > 0)]
    used = {side: colour for side, colour in colours.items() if any(row["side"] == side for row in shown)}
    most = max((max(row["predicted"], row["observed"]) for row in shown), default=1.0) * 1.05
    least = min((min(row["predicted"], row["observed"]) for row in shown), default=0.0) / 1.3 if log else 0.0
    scale = alt.Scale(type="log" if log else "linear", domain=[least, min(1.0, most)], nice=False)
    axis = alt.Axis(format="~g", tickCount=5)
    base = alt.Chart(_data(shown)).encode(
        x=alt.X("predicted:Q", title="mean predicted probability", scale=scale, axis=axis),
        y=alt.Y("observed:Q", title="observed share of positives", scale=scale, axis=axis),
        color=alt.Color("side:N", scale=_scale(used), title=None, legend=_legend(used)),
        tooltip=[
            alt.Tooltip("side:N", title="model"),
            alt.Tooltip("predicted:Q", format=".4~g", title="predicted"),
            alt.Tooltip("observed:Q", format=".4~g", title="observed"),
            alt.Tooltip("rows:Q", format=",", title="rows"),
        ],
    )
    layers = [_diagonal(min(1.0, most), least), base.mark_line(strokeWidth=1.2), base.mark_point(filled=True, size=50)]
    return _spec(alt.layer(*layers), height=260)


def histogram(counts: Sequence[int], low: float, high: float, title: str) -> dict[str, Any]:
    """Rows by equal bins from `low` to `high`, on a root scale, so that rare high values show."""
    import altair as alt

    width = (high - low) / max(1, len(counts))
    rows = [
        {"from": low + place * width, "to": low + (place + 1) * width, "rows": rows}
        for place, rows in enumerate(counts)
    ]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(
            x=alt.X("from:Q", bin="binned", title=title, scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6)),
            x2=alt.X2("to:Q"),
            y=alt.Y(
                "rows:Q",
                title="rows (root scale)",
                scale=alt.Scale(type="sqrt"),
                axis=alt.Axis(format=",d", tickCount=5),
            ),
            tooltip=[
                alt.Tooltip("from:Q", format=".2f"),
                alt.Tooltip("to:Q", format=".2f"),
                alt.Tooltip("rows:Q", format=","),
            ],
        )
    )
    return _spec(chart, height=260)


def intervals(rows: Sequence[Row], title: str, overall: float | None) -> dict[str, Any]:
    """A point per ``name`` at ``value`` with a line from ``low`` to ``high``; a rule at the `overall` value."""
    import altair as alt

    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)),
        tooltip=[alt.Tooltip("words:N", title="of")],
    )
    scale = alt.Scale(zero=False)
    layers = [
        base.mark_rule(color=GREY, strokeWidth=2).encode(x=alt.X("low:Q", title=title, scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1, color=BLUE).encode(
            x=alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5))
        ),
    ]
    if overall is not None:
        layers.insert(0, _rule("x", overall))
    return _spec(alt.layer(*layers), height=_lines(rows, 20))


def _lines(rows: Sequence[Row], height: int) -> int:
    """The height of a chart with a line of `height` points for each name."""
    return max(30, height * len({row["name"] for row in rows}))


def _data(rows: Sequence[Row]) -> Any:
    import altair as alt

    return alt.InlineData(values=[_rounded(row) for row in rows])


def _rounded(row: Row) -> dict[str, Any]:
    """Six digits are more than a picture shows."""
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}


def _rule(axis: str, at: float) -> Any:
    import altair as alt

    chart = alt.Chart(_data([{"at": at}])).mark_rule(strokeDash=[4, 4], color=GREY)
    return chart.encode(**{axis: alt.X("at:Q") if axis == "x" else alt.Y("at:Q")})


def _diagonal(most: float, least: float = 0.0) -> Any:
    import altair as alt

    points = _data([{"d": least, "e": least}, {"d": most, "e": most}])
    return alt.Chart(points).mark_line(strokeDash=[4, 4], color=GREY, strokeWidth=1).encode(x="d:Q", y="e:Q")


def _scale(colours: Mapping[str, str]) -> Any:
    import altair as alt

    return alt.Scale(domain=list(colours), range=list(colours.values()))


def _legend(colours: Mapping[str, str], symbol: str = "square") -> Any:
    import altair as alt

    return alt.Legend(orient="top", symbolType=symbol, symbolOpacity=1, columns=3) if len(colours) > 1 else None


def _time_axis(order: Sequence[str]) -> Any:
    """Names of at most about twelve intervals under the axis, whichever there are."""
    import altair as alt

    step = max(1, -(-len(order) // 12))
    return alt.Axis(values=list(order)[::-step][::-1], labelAngle=-35, labelLimit=110)


def _spec(chart: Any, height: int) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(height=height, width="container").to_dict()
    for name in ("$schema", "config"):
        spec.pop(name, None)
    return spec
