"""Features: rows of the clean schema in, a data frame of numbers out, the same way in training and in scoring.

A FeaturePlan is decided once, from the pipeline and a look at the sample, and travels with the model as JSON.
Categories become integer codes by the plan's vocabulary (one Arrow lookup per batch), so that models hold numbers only:
0 is a missing value (or a missing column), 1, 2, … the known values from the most frequent on, -1 a value that the plan
doesn't know. The blocks stand in this order: numeric, time, low, high.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, PrivateAttr

from millrace.buffers import flags, stored_numbers, text_array
from millrace.errors import GateClosed
from millrace.spec import Pipeline

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["numeric", "time", "low", "high"]
KINDS: tuple[Kind, ...] = ("numeric", "time", "low", "high")
HUGE = 1e30  # numbers beyond are clipped: some models compute in float32, which ends at 3.4e38
VOCABULARY_LIMIT = 200_000
INTEGRAL_LIMIT = 2.0**53  # beyond it a float64 can't tell neighbouring integers apart
NEVER_FEATURES = {"label", "leak", "ignore", "key"}
TIME_CODES = 26  # -1, 0 and 24 hours; weekdays and months are fewer
FloatArray = np.ndarray[Any, np.dtype[np.float64]]
Table = np.ndarray[Any, Any]


class Feature(BaseModel):
    """One feature: its name in the frame, the column it comes from, its kind, a time part or a vocabulary."""

    model_config = ConfigDict(frozen=True)

    name: str
    column: str
    kind: Kind
    part: Literal["hour", "weekday", "month"] | None = None
    vocabulary: list[str] = []
    _lookup: pa.StringArray | None = PrivateAttr(None)

    @property
    def codes(self) -> int:
        """How many codes a time or category feature has, from -1 on."""
        return TIME_CODES if self.kind == "time" else len(self.vocabulary) + 2

    def lookup(self) -> pa.StringArray:
        """The vocabulary as an Arrow array, made once."""
        if self._lookup is None:
            self._lookup = text_array(self.vocabulary)
        return self._lookup


class FeaturePlan(BaseModel):
    """Which features a model sees, in the order of its input, and what its label means."""

    model_config = ConfigDict(frozen=True)

    features: list[Feature]
    label: str | None = None
    negative: str | None = None
    positive: str | None = None
    notes: list[str] = []

    @property
    def names(self) -> list[str]:
        """Names of the frame's columns."""
        return [feature.name for feature in self.features]

    def positions(self, *kinds: Kind) -> list[int]:
        """Positions of the features of these kinds, ascending."""
        return [at for at, feature in enumerate(self.features) if feature.kind in kinds]

    def columns(self) -> list[str]:
        """Names of the table columns that scoring reads, each once."""
        return list(dict.fromkeys(feature.column for feature in self.features))


def plan_features(sample: pa.Table, pipeline: Pipeline) -> FeaturePlan:
    """Decide the features from the pipeline's roles and a look at the sample.

    Left out, each with a note: columns that are all null, constant, or different in every row. A categorical column
    with at most `train.features.max_categories` values seen twice is `low`, and values seen once are left to its code
    of unknown values, so that a model learns what a rare value means; else `high`, with all its values. Hours are used
    where there are several, weekdays where the sample spans at least 7 days, months where it spans a year.

    Raises GateClosed where no usable feature is left.
    """
    notes: list[str] = []
    features: list[Feature] = []
    limit = pipeline.train.features.max_categories
    for name in pipeline.kept():
        column = pipeline.columns[name]
        if column.role in NEVER_FEATURES or name in pipeline.train.features.drop:
            continue
        if name not in sample.column_names:
            notes.append(f"{name}: not in the sample, left out")
            continue
        values = _one(sample.column(name))
        if values.null_count == len(values):
            notes.append(f"{name}: all null, left out")
        elif column.role == "time":
            features += _time_features(name, values)
        elif column.role == "numeric":
            numbers = _numbers(values)
            finite = numbers[np.isfinite(numbers)]
            if len(finite) == 0 or (len(finite) == len(numbers) and finite.min() == finite.max()):
                notes.append(f"{name}: constant or not a number, left out")
            else:
                features.append(Feature(name=name, column=name, kind="numeric"))
        else:
            feature, note = _categorical_feature(name, values, limit)
            features += [feature] if feature else []
            notes += [note] if note else []
    if not features:
        raise GateClosed("no usable feature", expected="a column that varies", found="; ".join(notes) or "none")
    features.sort(key=lambda feature: KINDS.index(feature.kind))
    label = pipeline.label
    if label is None or label not in sample.column_names:
        return FeaturePlan(features=features, notes=notes)
    negative, positive = label_values(sample.column(label), label)
    return FeaturePlan(features=features, label=label, negative=negative, positive=positive, notes=notes)


def to_frame(batch: pa.RecordBatch | pa.Table, plan: FeaturePlan) -> pd.DataFrame:
    """The plan's features of every row: float64 numbers (NaN where missing) and int32 codes.

    A column that the batch lacks is all missing; a column of another type is read by its text; an infinite number is
    missing; a new category is -1. Never raises for what a row holds.

    >>> plan = FeaturePlan(features=[Feature(name="x", column="x", kind="numeric"),
    ...                              Feature(name="city", column="city", kind="low", vocabulary=["Rome", "Bonn"])])
    >>> to_frame(pa.table({"city": ["Bonn", None, "Oslo"]}), plan)
        x  city
    0 NaN     2
    1 NaN     0
    2 NaN    -1
    """
    import pandas as pd

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for feature in plan.features:
        if feature.kind == "numeric":
            arrays[feature.name] = numbers(batch, feature)
        else:
            arrays[feature.name] = gather(batch, feature, np.arange(-1, feature.codes - 1, dtype=np.int32))
    return pd.DataFrame(arrays, columns=plan.names)


def numbers(batch: pa.RecordBatch | pa.Table, feature: Feature) -> FloatArray:
    """A numeric feature of every row, as float64: NaN where missing or infinite, clipped to ±HUGE."""
    values = _column(batch, feature)
    return np.full(batch.num_rows, np.nan) if values is None else _numbers(values)


def gather(batch: pa.RecordBatch | pa.Table, feature: Feature, table: Table) -> Table:
    """`table[code + 1]` for every row's code of a time or category feature; `table` has `feature.codes` entries.

    Each entry of a dictionary is looked up once, whatever number of rows refer to it.

    >>> city = Feature(name="city", column="city", kind="low", vocabulary=["Rome", "Bonn"])
    >>> cities = pa.array(["Bonn", None, "Oslo", "Bonn"]).dictionary_encode()
    >>> gather(pa.table({"city": cities}), city, np.array(["new", "missing", "Rome", "Bonn"])).tolist()
    ['Bonn', 'missing', 'new', 'Bonn']
    """
    values = _column(batch, feature)
    if values is None:
        return np.full(batch.num_rows, table[1])
    if feature.kind == "time":
        return table.take(_time_part(values, feature.part) + 1)
    if not (_is_text(values.type) or pa.types.is_dictionary(values.type)):
        values = values.dictionary_encode()  # the text of each distinct number is made once
    if not pa.types.is_dictionary(values.type):
        return table.take(_codes(values, feature) + 1)
    entries = np.append(table.take(_codes(values.dictionary, feature) + 1), table[1])
    at = stored_numbers(values.indices)
    if values.indices.null_count:
        at = np.where(flags(values.indices.is_null()), len(values.dictionary), at)
    return entries.take(at)


def labels(table: pa.RecordBatch | pa.Table, plan: FeaturePlan) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The label of every row as 0 or 1 (int8), and which rows have a known one (bool).

    Null and any value other than the plan's two count as unknown.
    """
    assert plan.label is not None
    text = category_text(_one(table.column(plan.label)))
    positive = flags(pc.equal(text, plan.positive))
    known = positive | flags(pc.equal(text, plan.negative))
    return positive.astype(np.int8), known


def label_values(column: pa.Array | pa.ChunkedArray, name: str) -> tuple[str, str]:
    """The negative and the positive value of a label, as text: the two values in ascending order (No < Yes, 0 < 1).

    Raises GateClosed, with the counts, where there aren't exactly two.
    """
    values = _one(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    counted = [(entry["values"], entry["counts"]) for entry in pc.value_counts(values.drop_null()).to_pylist()]
    if len(counted) != 2:
        shown = ", ".join(f"{value!r}: {count}" for value, count in sorted(counted, key=lambda pair: -pair[1])[:5])
        raise GateClosed(
            f"the label {name} can't be learned",
            expected="exactly two values",
            found=f"{len(counted)} ({shown})" if counted else "only null",
            hint="a wider window or another interval may hold both" if len(counted) < 2 else None,
        )
    ordered = pa.array(sorted(value for value, _ in counted), values.type)
    negative, positive = category_text(ordered).to_pylist()
    return negative, positive


def category_text(values: pa.Array) -> pa.StringArray:
    """The canonical text of category values: integral floats as their decimal integer, so that types may widen.

    >>> category_text(pa.array([1.0, 2.5, None])).to_pylist()
    ['1', '2.5', None]
    """
    if pa.types.is_floating(values.type):
        integral = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), INTEGRAL_LIMIT))
        whole = pc.if_else(integral, values, None).cast(pa.int64()).cast(pa.string())
        return pc.coalesce(whole, values.cast(pa.string()))
    return values.cast(pa.string())


def build_encoder(plan: FeaturePlan, seed: int, strengths: dict[str, float]) -> Any:
    """The first half of a model: frame → float64 matrix, `high` categories replaced by cross-fitted target means.

    `fit_transform` encodes each row from the other folds' labels, so that a rare category can't give its own label
    away; `transform` uses all of them. `strengths` holds, per `high` feature, how many rows the prior counts for in a
    target mean (see `target_means.prior_strength`). Columns keep the plan's order.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    parts: list[tuple[str, Any, list[int]]] = [("rest", "passthrough", plan.positions("numeric", "time", "low"))]
    for at in plan.positions("high"):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        means = TargetEncoder(target_type="binary", cv=folds, smooth=strengths[plan.features[at].name])
        parts.append((f"target_{at}", means, [at]))
    return ColumnTransformer(parts)


def build_shaper(plan: FeaturePlan, style: Literal["linear", "bins", "trees"], pca: float | None, seed: int) -> Any:
    """The second half: what the model family wants of the encoded matrix.

    `linear`: median imputation with an indicator and unit variance for numbers and target means, the log-odds of target
    means beside them, one-hot for the rest. A probability adds to the log-odds of a linear model by its own log-odds
    where it is near 0, and hardly at all in between: the model weighs the two.
    `bins`: ten quantile bins instead, one-hot. `trees`: as it is (they split on codes and take NaN). `pca` keeps that
    many components, or that share of the variance, of the linear shape.
    """
    from scipy.special import logit
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline as Steps
    from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler

    if style == "trees" and pca is None:
        return "passthrough"
    numbers, codes = plan.positions("numeric", "high"), plan.positions("time", "low")
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if style == "bins":
        impute.set_params(add_indicator=False)
        # bins that share an edge are merged, which it warns of; see `fitting.EXPECTED_WARNINGS`
        bins = KBinsDiscretizer(10, encode="onehot", quantile_method="averaged_inverted_cdf", random_state=seed)
        number_steps = Steps([("impute", impute), ("bins", bins)])
    else:
        number_steps = Steps([("impute", impute), ("scale", StandardScaler())])
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=pca is None)
    parts = [("numbers", number_steps, numbers)] * bool(numbers) + [("codes", one_hot, codes)] * bool(codes)
    if style == "linear" and (means := plan.positions("high")):
        parts.append(("odds", Steps([("logit", FunctionTransformer(logit)), ("scale", StandardScaler())]), means))
    columns = ColumnTransformer(parts)
    return columns if pca is None else Steps([("columns", columns), ("pca", PCA(pca, random_state=seed))])


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _column(batch: pa.RecordBatch | pa.Table, feature: Feature) -> pa.Array | None:
    return _one(batch.column(feature.column)) if feature.column in batch.schema.names else None


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _numbers(values: pa.Array) -> FloatArray:
    """Values as float64: NaN where missing or infinite, clipped to ±HUGE; text that isn't a number is missing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        numeric = pc.match_substring_regex(values, r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")
        values = pc.utf8_trim_whitespace(pc.if_else(numeric, values, None))
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    values = values.cast(pa.float64(), safe=False)
    numbers = stored_numbers(values).copy()
    known = np.isfinite(numbers)
    if values.null_count:
        known &= flags(values.is_valid())
    np.copyto(numbers, np.nan, where=~known)
    return np.clip(numbers, -HUGE, HUGE, out=numbers)


def _codes(values: pa.Array, feature: Feature) -> np.ndarray[Any, Any]:
    """0 where null, 1 + position in the vocabulary, -1 where unknown."""
    text = category_text(values)
    positions = pc.index_in(text, value_set=feature.lookup())
    codes = stored_numbers(positions) + np.int32(1)
    if positions.null_count:
        codes[flags(positions.is_null())] = -1
    if text.null_count:
        codes[flags(text.is_null())] = 0
    return codes


def _time_part(values: pa.Array, part: str | None) -> np.ndarray[Any, Any]:
    """1 + hour, 1 + weekday (Monday 0), or the month; 0 where missing."""
    if not pa.types.is_temporal(values.type):
        try:
            values = values.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            return np.zeros(len(values), np.int32)
    moments = values.cast(pa.timestamp("us"), safe=False)
    kernel, first = {"hour": (pc.hour, 1), "weekday": (pc.day_of_week, 1), "month": (pc.month, 0)}[part or ""]
    found = stored_numbers(kernel(moments)).astype(np.int32) + np.int32(first)
    if moments.null_count:
        found[flags(moments.is_null())] = 0
    return found


def _time_features(name: str, values: pa.Array) -> list[Feature]:
    first, last = pc.min_max(values.cast(pa.timestamp("us"), safe=False)).values()
    days = (last.as_py() - first.as_py()).total_seconds() / 86400
    parts: list[Literal["hour", "weekday", "month"]] = []
    if len(np.unique(_time_part(values.drop_null(), "hour"))) > 1:
        parts.append("hour")
    if days >= 6:
        parts.append("weekday")
    if days >= 365:
        parts.append("month")
    return [Feature(name=f"{name}:{part}", column=name, kind="time", part=part) for part in parts]


def _categorical_feature(name: str, values: pa.Array, limit: int) -> tuple[Feature | None, str | None]:
    counted = pc.value_counts(category_text(_dense(values)).drop_null())
    texts, counts = counted.field("values"), counted.field("counts")
    distinct = len(counted)
    if distinct == 1 and values.null_count == 0:
        return None, f"{name}: constant, left out"
    repeated = pc.greater(counts, 1)
    if not pc.any(repeated).as_py():
        return None, f"{name}: every value is different, left out"
    kind: Kind = "low" if pc.sum(repeated).as_py() <= limit else "high"
    known = pa.table({"text": texts, "count": counts})
    known = known.filter(repeated) if kind == "low" else known  # a target mean shrinks what is seen once by itself
    known = known.sort_by([("count", "descending"), ("text", "ascending")]).slice(0, VOCABULARY_LIMIT)
    note = f"{name}: {distinct} values, {distinct - len(known)} too rare to be told apart" if kind == "high" else None
    return Feature(name=name, column=name, kind=kind, vocabulary=known.column("text").to_pylist()), note


def _dense(values: pa.Array) -> pa.Array:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def keep_features(plan: FeaturePlan, keep: Sequence[str]) -> FeaturePlan:
    """The plan with these features alone, in its own order."""
    wanted = set(keep)
    return plan.model_copy(update={"features": [feature for feature in plan.features if feature.name in wanted]})
