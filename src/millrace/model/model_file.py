"""Model files: an estimator and its plan in, a folder with `model.json` and `model.skops` or `model.npz` out, and back.

Nothing is pickled. skops rebuilds objects of the types that it trusts by itself, and of the few named here; any other
type in a file is refused before anything is built. `model.json` holds the checksum of its neighbour.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.errors import CorruptData, InputError, UnsafeModel
from millrace.model.features import FeaturePlan
from millrace.spec import ModelName
from millrace.storage.files import open_input

JSON = "model.json"
FILES: dict[str, str] = {"skops": "model.skops", "additive": "model.npz"}
ALLOWED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "functools.partial",  # both from HistGradientBoosting's own preprocessor; skops builds partials of
        "sklearn.utils.validation.check_array",  # functions that are themselves in the list, and of no others
    }
)


class ModelInfo(BaseModel):
    """What `model.json` holds beside the plan."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    pipeline: str
    family: ModelName
    interval: str
    plan: FeaturePlan
    params: dict[str, Any] = {}
    odds: float = 1.0
    versions: dict[str, int] = {}
    metrics: dict[str, float | None] = {}
    notes: list[str] = []
    model_version: int | None = None
    format: Literal["skops", "additive"] = "skops"
    sha256: str = ""


@dataclass(frozen=True)
class LoadedModel:
    """An estimator, and what is known about it; `millrace.model.score` scores with it."""

    estimator: Any
    info: ModelInfo

    @property
    def plan(self) -> FeaturePlan:
        """Which features it reads."""
        return self.info.plan


def write_model(folder: Path, estimator: Any, info: ModelInfo) -> ModelInfo:
    """Write a model into a folder (made if absent) and return its info with the checksum.

    Raises UnsafeModel for an estimator that `read_model` would refuse.
    """
    from millrace.model.additive import AdditiveModel

    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(estimator, AdditiveModel):
        kind: Literal["skops", "additive"] = "additive"
        content = estimator.to_bytes()
    else:
        kind = "skops"
        content = _dump(estimator)
        _check_types(content)
    info = info.model_copy(update={"format": kind, "sha256": hashlib.sha256(content).hexdigest()})
    (folder / FILES[kind]).write_bytes(content)
    (folder / JSON).write_text(info.model_dump_json(indent=1))
    return info


def read_model(folder: Path | str) -> LoadedModel:
    """Read a model from a folder, by local path or URI.

    Raises InputError where there is none, CorruptData where a file doesn't match its checksum or can't be decoded,
    UnsafeModel where it holds a type outside the allow-list.
    """
    info = read_info(folder)
    path = f"{str(folder).rstrip('/')}/{FILES[info.format]}"
    try:
        content = _read(path)
    except InputError as error:
        raise CorruptData("a model without its file", expected=path, found=f"only {JSON}") from error
    if (found := hashlib.sha256(content).hexdigest()) != info.sha256:
        raise CorruptData(
            f"{path} was changed after it was written", expected=f"sha256 {info.sha256[:12]}…", found=f"{found[:12]}…"
        )
    if info.format == "additive":
        from millrace.model.additive import AdditiveModel

        return LoadedModel(AdditiveModel.from_bytes(content), info)
    return LoadedModel(_load(content), info)


def read_info(folder: Path | str) -> ModelInfo:
    """Read `model.json` alone. Raises as `read_model`."""
    path = f"{str(folder).rstrip('/')}/{JSON}"
    try:
        return ModelInfo.model_validate_json(_read(path))
    except ValidationError as error:
        raise CorruptData(f"{path} can't be read", found=str(error.errors()[0]["msg"])) from error


def _read(path: str) -> bytes:
    with open_input(path) as file:
        return bytes(file.read())


def _dump(estimator: Any) -> bytes:
    import skops.io

    buffer = io.BytesIO()
    skops.io.dump(estimator, buffer, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue()


def _check_types(content: bytes) -> None:
    """Refuse types outside the list; skops itself finds and audits the types, before it builds anything."""
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(data=content)
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, ValueError, TypeError) as error:
        raise CorruptData("a model file can't be decoded", found=str(error).split("\n")[0]) from error
    refused = sorted(set(untrusted) - ALLOWED_TYPES)
    if refused:
        raise UnsafeModel(
            "a model file holds types that Millrace never writes",
            expected="scikit-learn's own estimators",
            found=", ".join(refused),
            hint="nothing was loaded; don't use this file",
        )


def _load(content: bytes) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    _check_types(content)
    try:
        return skops.io.loads(content, trusted=sorted(ALLOWED_TYPES))
    except UntrustedTypesFoundException as error:
        raise UnsafeModel("a model file holds types that Millrace never writes", found=str(error)) from error
    except (KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise CorruptData("a model file can't be decoded", found=str(error).split("\n")[0]) from error
