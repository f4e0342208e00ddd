from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from millrace.errors import CorruptData, InputError, UnsafeModel
from millrace.model.model_file import LoadedModel, read_model, write_model
from millrace.model.score import score_batch
from millrace.model.train import fit
from millrace.spec import Features, ModelName, Pipeline, Train

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]


@pytest.fixture
def written(shop_pipeline: Make, shop: Rows, tmp_path: Path) -> tuple[Path, LoadedModel]:
    model = fit(shop(500), shop_pipeline(), 1).model(shop_pipeline(), "2026-01-01", {"sample": 3})
    write_model(tmp_path, model.estimator, model.info)
    return tmp_path, model


def replace(folder: Path, content: bytes) -> None:
    """Put other bytes in place of the model, with their right checksum: what somebody who can write may do."""
    (folder / "model.skops").write_bytes(content)
    info = json.loads((folder / "model.json").read_text())
    info["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("model", "features"),
    [
        *((name, Features()) for name in get_args(ModelName)),
        ("sgd", Features(pca=2)),
        ("random_forest", Features(pca=2)),
    ],
)
def test_a_model_read_back_scores_the_same(
    model: ModelName, features: Features, shop_pipeline: Make, shop: Rows, tmp_path: Path
) -> None:
    small = {"random_forest": {"n_estimators": 5}, "hist_gradient_boosting": {"max_iter": 5}}.get(model, {})
    pipeline, table = shop_pipeline(train=Train(model=model, params=small, features=features)), shop(400)
    made = fit(table, pipeline, 1).model(pipeline, "2026-01-01", {"sample": 3})
    info = write_model(tmp_path, made.estimator, made.info)
    read = read_model(tmp_path)
    np.testing.assert_array_equal(score_batch(table, read), score_batch(table, made))
    assert read.info == info
    assert info.versions == {"sample": 3}


def test_a_file_uri_is_a_folder_too(written: tuple[Path, LoadedModel]) -> None:
    folder, model = written
    assert read_model(folder.as_uri()).plan.model_dump() == model.plan.model_dump()


class Shell:
    """Runs a command when a pickle, or a careless loader, rebuilds it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/should-not-exist",)


@pytest.mark.parametrize(
    "bad",
    [
        FunctionTransformer(func=os.system),
        LogisticRegression(class_weight=Shell()),
        {"f": np.memmap},
    ],
    ids=["a function", "a class of its own", "a numpy loader"],
)
def test_types_outside_the_list_are_refused_before_they_are_built(
    bad: object, written: tuple[Path, LoadedModel]
) -> None:
    folder, _ = written
    replace(folder, skops.io.dumps(bad))
    with pytest.raises(UnsafeModel, match="types that Millrace never writes"):
        read_model(folder)


def test_write_refuses_what_read_would(written: tuple[Path, LoadedModel], tmp_path: Path) -> None:
    with pytest.raises(UnsafeModel):
        write_model(tmp_path / "new", FunctionTransformer(func=os.system), written[1].info)


def test_a_schema_that_lies_about_a_trusted_type_is_refused(written: tuple[Path, LoadedModel]) -> None:
    """The classifier's entry renamed to a function of the os module."""
    folder, model = written
    source = zipfile.ZipFile(io.BytesIO((folder / "model.skops").read_bytes()))
    schema = source.read("schema.json").decode()
    lying = schema.replace('"LogisticRegression"', '"system"').replace('"sklearn.linear_model._logistic"', '"os"')
    assert lying != schema
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, lying if name == "schema.json" else source.read(name))
    replace(folder, buffer.getvalue())
    with pytest.raises(UnsafeModel, match="os.system"):
        read_model(folder)


def test_a_flipped_byte_is_found(written: tuple[Path, LoadedModel]) -> None:
    folder, _ = written
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.skops").write_bytes(bytes(content))
    with pytest.raises(CorruptData, match="was changed after it was written"):
        read_model(folder)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x80\x04."])
def test_bytes_that_arent_a_model_are_corrupt(content: bytes, written: tuple[Path, LoadedModel]) -> None:
    folder, _ = written
    replace(folder, content)
    with pytest.raises(CorruptData, match="can't be decoded"):
        read_model(folder)


def test_missing_and_cut_files_are_named(written: tuple[Path, LoadedModel], tmp_path: Path) -> None:
    folder, _ = written
    with pytest.raises(InputError):
        read_model(folder / "elsewhere")
    (folder / "model.skops").unlink()
    with pytest.raises(CorruptData, match="without its file"):
        read_model(folder)
    (folder / "model.json").write_text('{"pipeline": "shop"')
    with pytest.raises(CorruptData, match="can't be read"):
        read_model(folder)
