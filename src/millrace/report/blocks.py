"""What a page is made of: sections of sentences, cards, charts and tables. Each chart has its figures as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    right: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of texts. `caption` says what one sees; `open` False hides the rows behind their caption."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    open: bool = True


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification with its title, a sentence that says what it shows, and its figures."""

    id: str
    title: str
    spec: dict[str, Any]
    words: str
    table: Table
    wide: bool = False


@dataclass(frozen=True)
class Card:
    """A figure in large type with its name, a short comment and a mood."""

    name: str
    figure: str
    words: str = ""
    mood: Literal["", "good", "bad", "odd"] = ""


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    id: str
    title: str
    words: Sequence[str]
    blocks: Sequence[Chart | Table] = field(default_factory=list)
    page: tuple[str, str] | None = None  # a page of its own inside this one: what it is, and its HTML


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, shut: bool = False) -> Table:
    """A table; a head that begins with ``>`` is aligned to the right.

    >>> table(["column", ">rows"], [["fare", "12"]]).columns[1]
    Column(name='rows', right=True)
    """
    columns = [Column(head.removeprefix(">"), head.startswith(">")) for head in heads]
    return Table(columns, rows, caption, not shut)
