"""Between Arrow and numpy without pandas.

`pa.array`, `to_numpy`, `pa.scalar`, `pa.repeat`, and compute functions with a Python value among their arguments import
pandas wherever it is installed. That takes a third of a second, which is longer than a small job: code that every map
task runs converts with these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def stored_numbers(array: pa.Array) -> npt.NDArray[Any]:
    """The stored numbers of an Arrow array, whatever stands where it is null. A view, not to be written to.

    >>> stored_numbers(pa.array([1, 2, 3])[1:]).tolist()
    [2, 3]
    """
    if not len(array):
        return np.empty(0, str(array.type))
    return np.frombuffer(array.buffers()[1], str(array.type))[array.offset : array.offset + len(array)]


def flags(array: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """The truth values of an Arrow array; False where it is null.

    >>> flags(pa.array([True, None, False, True])[1:]).tolist()
    [False, False, True]
    """
    stored = array.cast(pa.uint8())
    found = stored_numbers(stored).astype(np.bool_)
    if array.null_count:
        found &= stored_numbers(stored.is_valid().cast(pa.uint8())).astype(np.bool_)
    return found


def array_of(values: npt.NDArray[Any]) -> pa.Array:
    """Numbers or truth values as an Arrow array without nulls.

    >>> array_of(np.array([True, False])).to_pylist(), array_of(np.array([1, 2], np.int8)).type
    ([True, False], DataType(int8))
    """
    kind = pa.from_numpy_dtype(values.dtype)
    stored = np.packbits(values, bitorder="little") if kind == pa.bool_() else np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(stored)])


def everywhere(flag: bool, rows: int) -> pa.BooleanArray:
    """One truth value in many rows.

    >>> everywhere(True, 2).to_pylist()
    [True, True]
    """
    return array_of(np.full(rows, flag))


def without_dictionary(values: pa.Array) -> pa.Array:
    """The values of an array, dictionary-encoded or not, one by one.

    >>> without_dictionary(pa.array(["a", None, "a"]).dictionary_encode()).to_pylist()
    ['a', None, 'a']
    """
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def one_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Batches as one table. Columns that are dictionary-encoded in all of them stay so, with one dictionary.

    >>> coded, plain = pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c"])
    >>> batches = [pa.record_batch({"x": coded, "y": coded}), pa.record_batch({"x": coded, "y": plain})]
    >>> one_table(batches).schema.types, one_table(batches)["y"].to_pylist()
    ([DictionaryType(dictionary<values=string, indices=int32, ordered=0>), DataType(string)], ['a', 'b', 'b', 'c'])
    """
    columns = [
        column if all(pa.types.is_dictionary(each.type) for each in column) else [*map(without_dictionary, column)]
        for column in zip(*(batch.columns for batch in batches), strict=True)
    ]
    table = pa.Table.from_arrays([pa.chunked_array(column) for column in columns], batches[0].schema.names)
    return table.unify_dictionaries()


def text_array(texts: Iterable[str | None]) -> pa.StringArray:
    """Texts as an Arrow array.

    >>> text_array(["é", None, "x"]).to_pylist()
    ['é', None, 'x']
    """
    cells = [None if text is None else text.encode() for text in texts]
    offsets = np.cumsum([0, *(len(cell or b"") for cell in cells)], dtype=np.int32)
    valid = np.packbits([cell is not None for cell in cells], bitorder="little") if None in cells else None
    return pa.StringArray.from_buffers(
        len(cells),
        pa.py_buffer(offsets),
        pa.py_buffer(b"".join(cell or b"" for cell in cells)),
        None if valid is None else pa.py_buffer(valid),
    )


def repeated(text: str | None, count: int) -> pa.StringArray:
    """One text in many rows.

    >>> repeated("ab", 2).to_pylist(), repeated(None, 1).to_pylist()
    (['ab', 'ab'], [None])
    """
    if text is None:
        return pa.nulls(count, pa.string())
    cell = text.encode()
    offsets = np.arange(count + 1, dtype=np.int32) * len(cell)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(cell * count))


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows.

    >>> no_rows(pa.schema([("a", pa.int8())])).num_rows
    0
    """
    return pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)


def scalar(value: bool | int | float | str) -> pa.Scalar:
    """A value as a scalar, for compute functions: bool, int64, double or string.

    >>> scalar("x"), scalar(True), scalar(-1)
    (<pyarrow.StringScalar: 'x'>, <pyarrow.BooleanScalar: True>, <pyarrow.Int64Scalar: -1>)
    """
    return (text_array([value]) if isinstance(value, str) else array_of(np.array([value])))[0]


def null_scalar(kind: pa.DataType) -> pa.Scalar:
    """A missing value as a scalar, for compute functions.

    >>> null_scalar(pa.int8())
    <pyarrow.Int8Scalar: None>
    """
    return pa.nulls(1, kind)[0]


def row_numbers(numbers: npt.NDArray[np.int64]) -> pa.Int64Array:
    """Record numbers as an Arrow array."""
    return pa.Int64Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers.tobytes())])
