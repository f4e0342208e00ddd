"""Reading a pipeline file: YAML in, a checked `Pipeline` out, or every mistake at once with its line.

>>> print(find_mistakes("name: Clicks\\nsource: {uri: a.csv, tiem: t}\\ncolumns: {}\\n")[0])
line 1, name: expected text that matches ^[a-z][a-z0-9_]{0,62}$, found 'Clicks'
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from millrace.data.mistakes import Found, nearest, unknown_column
from millrace.errors import PipelineFileError
from millrace.spec import RESERVED, CleanRule, Expectation, Pipeline

BEYOND_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|\\[1-9Z]|[*+?}]\+")


@dataclass(frozen=True)
class Mistake:
    """One mistake: its line (from 1), the key's path, what was expected and found, and a hint."""

    line: int
    where: str
    expected: str
    found: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"line {self.line}, {self.where}: expected {self.expected}, found {self.found}{hint}"


def load(path: Path) -> Pipeline:
    """The pipeline in a YAML file.

    Raises PipelineFileError that lists every mistake with file, line, what was expected, what was found, and the
    nearest right name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = f"write it with: millrace init {path.stem} FILES"
        raise PipelineFileError(f"can't read {path}", found=error.strerror, hint=hint) from None
    except UnicodeDecodeError:
        raise PipelineFileError(f"can't read {path}", expected="UTF-8 text", found="other bytes") from None
    mistakes, pipeline = _examine(text)
    if pipeline is None or mistakes:
        listing = "\n".join(f"  {path}: {mistake}" for mistake in mistakes)
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise PipelineFileError(f"{path} has {len(mistakes)} {noun}\n{listing}")
    return pipeline


def find(name: str, folder: Path) -> Path:
    """The file of the pipeline `name` in `folder`; a path to a YAML file is taken as it is.

    Raises PipelineFileError with the nearest name where there is none.
    """
    direct = Path(name)
    if direct.suffix in (".yaml", ".yml") and direct.exists():
        return direct
    path = folder / f"{name}.yaml"
    if path.exists():
        return path
    known = sorted(each.stem for each in folder.glob("*.yaml"))
    other = f"write it with: millrace init {direct.stem} FILES; or go to its folder, or set MILLRACE_PIPELINES"
    raise PipelineFileError(
        f"no pipeline {name!r} in {folder}",
        expected=f"one of {', '.join(known)}" if known else "a YAML file there",
        hint=nearest(direct.stem, known) or other,
    )


def find_mistakes(text: str) -> list[Mistake]:
    """Every mistake in the text of a pipeline file, in order of line."""
    return _examine(text)[0]


def _examine(text: str) -> tuple[list[Mistake], Pipeline | None]:
    try:
        document = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        return [Mistake(mark.line + 1 if mark else 1, "file", "YAML", problem.removeprefix("found "))], None
    if not isinstance(document, dict):
        return [Mistake(1, "file", "keys such as name, source, columns", type(document).__name__)], None
    try:
        pipeline = Pipeline.model_validate(_plain(document))
    except ValidationError as error:
        wrong = [each for each in error.errors() if _is_real(each, document)]
        mistakes = _joined(wrong, document)
        mistakes += _checks_of_the_rest(document, [_value_at(document, each["loc"])[0] for each in wrong])
        return sorted(mistakes, key=lambda mistake: mistake.line), None
    mistakes = _cross_checks(pipeline, document)
    return sorted(mistakes, key=lambda mistake: mistake.line), pipeline


def _checks_of_the_rest(document: Any, wrong: Sequence[Sequence[object]]) -> list[Mistake]:
    """Mistakes between sections, where those that can't be read are left out; none where too little is left."""
    places = {".".join(map(str, steps)) for steps in wrong}
    if any(steps[:1] in ([], ["columns"], ["source"]) for steps in wrong):
        return []
    rest = copy.deepcopy(document)
    harmless = {"expect": "table_row_count_to_be_between", "min_value": 0}
    for section, *below in wrong:
        if section == "name":
            rest["name"] = "x"
        elif section == "check" and below:
            rest["check"][below[0]] = harmless  # in its place, so that the others keep theirs
        elif section == "clean" and below:
            rest["clean"].pop(below[0], None)
        else:
            rest.pop(section, None)
    try:
        pipeline = Pipeline.model_validate(_plain(rest))
    except ValidationError:
        return []
    return [mistake for mistake in _cross_checks(pipeline, document) if mistake.where not in places]


def _plain(node: Any) -> Any:
    """The document as plain Python values."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _is_real(error: ErrorDetails, document: Any) -> bool:
    """Whether an error belongs to the branch of a union that the value was meant for."""
    loc = error["loc"]
    if len(loc) > 2 and loc[0] == "clean":
        value = document["clean"][loc[1]]
        return isinstance(value, dict) == (str(loc[2]) == "CleanRule")
    return True


def _joined(errors: Sequence[ErrorDetails], document: Any) -> list[Mistake]:
    """Mistakes, where those of one value are joined: each branch of a union has its own words on what it expects.

    Branches for another type than the value's say nothing where one of its own type does.
    """
    found: dict[tuple[int, str, str], list[tuple[bool, Mistake]]] = {}
    for error in errors:
        mistake = _from_pydantic(error, document)
        other_type = error["type"].endswith("_type") and error["type"] != "int_type"
        found.setdefault((mistake.line, mistake.where, mistake.found), []).append((other_type, mistake))
    joined = []
    for each in found.values():
        own = [mistake for other_type, mistake in each if not other_type] or [mistake for _, mistake in each]
        expected = ", or ".join(dict.fromkeys(mistake.expected for mistake in own))
        joined.append(replace(own[0], expected=expected))
    return joined


def position(node: Any) -> Any:
    """ruamel's record of the lines of a mapping's keys or a sequence's items."""
    return node.lc


def line_of(document: Any, path: Sequence[object]) -> int:
    """The line (from 1) of the deepest key of `path` that the document holds."""
    line = 1
    node: Any = document
    step: Any
    for step in path:
        if isinstance(node, dict) and step in node:
            line = int(position(node).key(step)[0]) + 1
            node = node[step]
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            line = int(position(node).item(step)[0]) + 1
            node = node[step]
    return line


def _value_at(document: Any, path: Sequence[object]) -> tuple[list[object], Any]:
    """The steps of `path` that exist in the document, and the value there (unions add steps that don't)."""
    steps: list[object] = []
    node: Any = document
    step: Any
    for step in path:
        if (isinstance(node, dict) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        ):
            steps.append(step)
            node = node[step]
    return steps, node


def _fields_at(path: Sequence[object]) -> list[str]:
    """Names of the keys allowed in the section that `path` leads to."""
    fields: dict[str, Any] = Pipeline.model_fields
    for step in path:
        if step == "clean":
            fields = CleanRule.model_fields
        field = fields.get(str(step))
        if field is None:
            continue
        for model in _models(field.annotation):
            fields = model.model_fields
    return sorted(fields)


def _models(annotation: Any) -> list[Any]:
    """The pydantic models inside an annotation such as ``dict[str, Column] | None``."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def _from_pydantic(error: ErrorDetails, document: Any) -> Mistake:
    steps, value = _value_at(document, error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    where = ".".join(str(step) for step in steps) or "file"
    line = line_of(document, steps)
    if kind == "extra_forbidden":
        known = _fields_at(steps[:-1])
        return Mistake(line, where, f"one of {', '.join(known)}", repr(str(steps[-1])), nearest(steps[-1], known))
    if kind == "missing":
        return Mistake(line, where, f"a key {error['loc'][-1]!r}", "none")
    if kind == "literal_error":
        expected = str(context.get("expected", "another value"))
        options = [each.strip("' ") for each in expected.replace(" or ", ", ").split(", ")]
        return Mistake(line, where, f"one of {', '.join(options)}", repr(value), nearest(value, options))
    if kind == "string_pattern_mismatch":
        return Mistake(line, where, f"text that matches {context.get('pattern')}", repr(value))
    if kind == "value_error":
        text = str(context.get("error", error["msg"])).removeprefix("expected ")
        expected, _, found = text.partition(", found ")
        return Mistake(line, where, expected, found or _short(value))
    if kind in ("string_too_short", "too_short"):
        return Mistake(
            line, where, "at least one " + ("character" if kind == "string_too_short" else "item"), _short(value)
        )
    message = error["msg"]
    expected = message.removeprefix("Input should be ").removeprefix("a valid ")
    if expected.startswith(("greater", "less")):
        expected = f"a number {expected}"
    return Mistake(line, where, expected, _short(value))


def _short(value: Any) -> str:
    text = repr(_plain(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _cross_checks(pipeline: Pipeline, document: Any) -> list[Mistake]:
    """Mistakes that show only between settings: names of columns, roles, lengths, expectations."""
    from millrace.data.section_mistakes import section_mistakes

    found = [*section_mistakes(pipeline), *_columns(pipeline), *_clean(pipeline), *_check(pipeline)]
    return [
        Mistake(line_of(document, each.path), ".".join(map(str, each.path)), each.expected, each.found, each.hint)
        for each in found
    ]


def _columns(pipeline: Pipeline) -> Iterator[Found]:
    from millrace.data.clean_mistakes import column_mistakes

    for name, declared in pipeline.columns.items():
        if name in RESERVED:
            hint = f"give it another name, with source: {name}"
            expected = f"no column named {', '.join(RESERVED)}: Millrace adds these"
            yield Found(["columns", name], expected, repr(name), hint)
        if declared.derive is not None:
            path = ["columns", name, "derive"]
            stored = list(pipeline.as_stored().columns)
            yield from unknown_column([*path, "column"], declared.derive.column, stored)
            yield from _pattern([*path, "matches"], declared.derive.matches)
        for each in column_mistakes(declared):
            yield each._replace(path=["columns", name, *each.path])


def _pattern(path: list[str], text: str) -> Iterator[Found]:
    """Arrow matches with RE2, whose syntax is Python's without looking around and back."""
    try:
        re.compile(text)
    except re.error as error:
        yield Found(path, "a regular expression", f"{text!r} ({error})")
        return
    if beyond := BEYOND_RE2.search(text):
        yield Found(path, "a regular expression of RE2, which can't look around or back", repr(beyond.group()))


def _clean(pipeline: Pipeline) -> Iterator[Found]:
    from millrace.data.clean_mistakes import rule_mistakes

    columns = list(pipeline.columns)
    for name in pipeline.clean:
        yield from unknown_column(["clean", name], name, columns)
        yield from unknown_column(["clean", name, "missing", "by"], pipeline.rule(name).missing.by, columns)
        if name in columns:
            for each in rule_mistakes(pipeline.columns[name], pipeline.rule(name)):
                yield each._replace(path=["clean", name, *each.path])


def _check(pipeline: Pipeline) -> Iterator[Found]:
    from millrace.data.expectations import validate_expectation

    for position, expectation in enumerate(pipeline.check):
        for words in validate_expectation(expectation, pipeline.columns):
            yield Found(["check", position], *_words(words))


def _words(text: str) -> tuple[str, str, str | None]:
    """Expected, found and hint of a mistake told as ``expected …, found …; hint``."""
    body, _, hint = text.partition("; ")
    expected, separator, found = body.removeprefix("expected ").partition(", found ")
    return expected, found if separator else "otherwise", hint or None


def json_schema() -> dict[str, Any]:
    """JSON Schema of the pipeline file, for editors."""
    from millrace.hyperparameters import params_schema

    schema = Pipeline.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Millrace pipeline"
    schema["$defs"]["Train"]["allOf"] = params_schema()
    schema["$defs"]["Expectation"] = Expectation.model_json_schema() | {"additionalProperties": True}
    return schema
