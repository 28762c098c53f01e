"""Save a fitted detector, and load it, without pickle.

A file is in the safetensors format: a header in JSON, and arrays. Nothing in it can be
executed, so that the worst a file from somebody else can do is to fail to load.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any

import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted

from . import blur, geometry
from ._detector import WHAT_TO_PASS, SVDRNDDetector
from ._files import write_whole
from ._images import ImageLayout
from ._networks import count_values

__all__ = ["FileFormatError", "load", "save"]

# Files of another number are refused; what is added to it later must have a default.
_FORMAT = 1
_TRANSFORMERS = {
    name: getattr(module, name) for module in (blur, geometry) for name in module.__all__
}
# Of a safetensors file: bytes that say how long its first part is, in JSON, and the most of it.
_N_LENGTH, _MOST_HEADER_BYTES = 8, 2**26
# Fitted attributes that go into the header, with their types, and those that are arrays.
_VALUES: dict[str, Any] = {
    "offset_": float,
    "k_": int | float | list | None,
    "loss_curve_": list,
    "validation_loss_curve_": list | None,
    "n_features_in_": int,
    "sample_shape_": tuple,
    "input_shape_": tuple,
    "n_estimators_": int,
    "precision_": str,
    "_groups": list,
    "_architecture": str,
}
_ARRAYS = ("mean_", "scale_", "_units", "_trained", "calibration_scores_")
_DTYPES = {"_trained": np.uint64}
_STANDARDS = ("targets.mean", "targets.scale")
# Of a transformer.
_FITTED = ("n_features_in_", "sample_shape_")


class FileFormatError(ValueError):
    """Raised by `load` if the file does not hold a detector, or not a whole one."""


def save(detector: SVDRNDDetector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector to a file.

    The file is put in its place in one step: a write that is interrupted or fails leaves
    what was there before.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted, with a `network` that is a name, and with blurs and geometry of this package.
        Its parameters `checkpoint` and `memory`, which name files, are not saved.
    path : str or path-like
        Where to write. An existing file is replaced.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is of another class, or holds something that such a file cannot bring back: a
        function as `network`, a transformer of another package, or a generator as
        `random_state`.
    ImportError
        Without safetensors; ``pip install "skrnd[io]"`` brings it.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Read a detector from such a file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.persistence import load, save
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> detector = SVDRNDDetector(random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(detector, folder + "/detector.safetensors")
    ...     loaded = load(folder + "/detector.safetensors")
    >>> bool((loaded.score_samples(X) == detector.score_samples(X)).all())
    True
    """
    from . import __version__

    safetensors = _safetensors()
    if type(detector) is not SVDRNDDetector:
        raise TypeError(
            f"save takes an SVDRNDDetector; got {type(detector).__name__}. {WHAT_TO_PASS}"
        )
    check_is_fitted(detector)
    # Of one moment, whatever another thread makes of the detector.
    detector = detector._snapshot()
    detector._validate_params()
    arrays = {name: getattr(detector, name) for name in _ARRAYS}
    if detector.calibration_scores_ is None:
        del arrays["calibration_scores_"]
    for number, pair in enumerate(detector._pairs):
        for name, value in pair.state_dict().items():
            arrays[f"pairs.{number}.{name}"] = value.cpu().numpy()
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    layout = detector._layout
    header = {
        "format": _FORMAT,
        "versions": {
            "skrnd": __version__,
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "params": {name: _encoded(value, name) for name, value in _params_of(detector).items()},
        "values": {name: _encoded(getattr(detector, name), name) for name in _VALUES},
        "blurs": [_encoded(one, "blur") for one in detector.blurs_],
        "layout": None if layout is None else dataclasses.asdict(layout),
        "feature_names_in_": getattr(detector, "feature_names_in_", np.array([])).tolist(),
    }
    text = json.dumps(header, sort_keys=True)
    metadata = {"skrnd": text, "sha256": _digest(text, arrays)}
    write_whole(Path(path), safetensors.numpy.save(arrays, metadata=metadata))


def load(path: str | os.PathLike[str]) -> SVDRNDDetector:
    """Read a detector from a file that `save` has written.

    Parameters
    ----------
    path : str or path-like
        The file. It may come from anyone: nothing in it is executed, and loading takes no
        more memory than a few times its size.

    Returns
    -------
    detector : SVDRNDDetector
        Fitted, on the device that its parameter `device` names, or on the CPU if there is
        no such device. `checkpoint` and `memory` are None.

    Raises
    ------
    FileFormatError
        If the file is of another kind, broken, changed since it was written, or of a newer
        format. It is a ValueError.
    ImportError
        Without safetensors; ``pip install "skrnd[io]"`` brings it.
    OSError
        If there is no file, or it cannot be read.

    See Also
    --------
    save : Write such a file.
    """
    safetensors = _safetensors()
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileFormatError(f"{path} is not a regular file.")
    # Read, and not mapped: who writes over a file that is mapped ends the process.
    with path.open("rb") as file:
        try:
            metadata, arrays = _content_of(file, safetensors)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            # Not its repr: that of an error of decoding has all that was to be decoded.
            raise FileFormatError(
                f"{path} is no whole safetensors file, as save writes it "
                f"({type(error).__name__}: {error}). What joblib or pickle has written, they read."
            ) from error
    text = metadata.get("skrnd")
    if text is None:
        raise FileFormatError(f"{path} does not hold a detector of skrnd.")
    if metadata.get("sha256") != _digest(text, arrays):
        raise FileFormatError(f"{path} was changed since it was written; its SHA-256 is not right.")
    try:
        header = json.loads(text)
        found = header["format"]
        if found == _FORMAT:
            return _rebuilt(header, arrays)
    except (
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise FileFormatError(f"{path} holds no whole detector: {error!r}") from error
    raise FileFormatError(
        f"{path} is of format {found!r}; this version of skrnd reads format {_FORMAT}."
    )


def _content_of(file: IO[bytes], safetensors: Any) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a safetensors file; no arrays of one that is not ours."""
    n_header = int.from_bytes(file.read(_N_LENGTH), "little")
    entries = json.loads(file.read(min(n_header, _MOST_HEADER_BYTES)))
    metadata = entries.pop("__metadata__", None) or {}
    if "skrnd" not in metadata:
        return {}, {}
    # What may be longer than it says is not read to its end.
    n_bytes = max(entry["data_offsets"][1] for entry in entries.values())
    if os.fstat(file.fileno()).st_size != _N_LENGTH + n_header + n_bytes:
        raise ValueError("its length is not what its header says")
    file.seek(0)
    return metadata, safetensors.numpy.load(file.read())


def _params_of(detector: SVDRNDDetector) -> dict[str, Any]:
    """Parameters, less those that name files: whoever made ours must not choose yours."""
    params = detector.get_params(deep=False)
    return {name: value for name, value in params.items() if name not in ("checkpoint", "memory")}


def _rebuilt(header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> SVDRNDDetector:
    params = {name: _decoded(value) for name, value in header["params"].items()}
    detector = SVDRNDDetector(**params)
    # Those that came later than the file have their defaults.
    if not set(params) <= set(_params_of(detector)):
        raise ValueError("the parameters are not those of a detector")
    detector._validate_params()
    fitted: dict[str, Any] = {name: _decoded(header["values"].get(name)) for name in _VALUES}
    fitted |= {name: np.array(arrays[name]) for name in _ARRAYS if name in arrays}
    fitted.setdefault("calibration_scores_", None)
    fitted.setdefault("_trained", np.empty(0, np.uint64))
    for name, types in _VALUES.items():
        if not isinstance(fitted[name], types):
            raise TypeError(f"{name} is a {type(fitted[name]).__name__}")
    fitted["blurs_"] = [_decoded(one) for one in header["blurs"]]
    if not all(type(one) in _TRANSFORMERS.values() for one in fitted["blurs_"]):
        raise TypeError("the blurs must be transformers")
    if header["feature_names_in_"]:
        fitted["feature_names_in_"] = np.array(header["feature_names_in_"], dtype=object)
    layout = header["layout"]
    if layout is not None:
        layout = ImageLayout(
            tuple(layout["sample_shape"]), tuple(layout["image_shape"]), layout["channels_last"]
        )
    fitted["_layout"] = layout
    _check_values(fitted)
    groups = fitted["_groups"]
    if len(groups) not in (1, 2):
        raise ValueError(f"{len(groups)} pairs of networks")
    fitted["_pairs"] = [_weights_of(number, arrays) for number in range(len(groups))]
    for pair, group in zip(fitted["_pairs"], groups, strict=True):
        _check_networks(fitted, pair, group)
    _check_arrays(fitted, arrays)
    detector.__setstate__({**vars(detector), **fitted})
    return detector


def _check_values(fitted: dict[str, Any]) -> None:
    """Refuse values that no fit leaves, or that contradict each other."""
    sample_shape, layout = fitted["sample_shape_"], fitted["_layout"]
    sizes = sample_shape
    if layout is not None:
        sizes = (*sizes, *layout.sample_shape, *layout.image_shape)
    if not sample_shape or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"rows of shape {sample_shape}, {layout}")
    # No array is larger, and the networks grow with the sides.
    if math.prod(sample_shape) > sys.maxsize:
        raise ValueError(f"rows of shape {sample_shape}")
    if layout is None:
        layout_shape, input_shape = sample_shape, sample_shape
    else:
        layout_shape, input_shape = layout.sample_shape, layout.chw
        if math.prod(layout.image_shape) != math.prod(sample_shape):
            raise ValueError(f"rows of shape {sample_shape} are no {layout}")
    if layout_shape != sample_shape or input_shape != fitted["input_shape_"]:
        raise ValueError(f"inputs of {fitted['input_shape_']} are no rows of {sample_shape}")
    n_features, names = fitted["n_features_in_"], fitted.get("feature_names_in_", [])
    if type(n_features) is not int or n_features != sample_shape[0]:
        raise ValueError(f"{n_features!r} features in rows of {sample_shape}")
    if len(names) not in (0, n_features) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{len(names)} names of {n_features} features")
    if not math.isfinite(fitted["offset_"]):
        raise ValueError("the threshold must be finite")
    # A curve is NaN where nobody looked, see `validation_loss_curve_`.
    curves = [*fitted["loss_curve_"], *(fitted["validation_loss_curve_"] or [])]
    if not all(isinstance(number, float) for number in curves):
        raise ValueError("the curves must be numbers")
    if fitted["_architecture"] not in ("auto", "resnet34"):
        raise ValueError(f"unknown network {fitted['_architecture']!r}")


def _check_networks(fitted: dict[str, Any], pair: Mapping[str, np.ndarray], group: Any) -> None:
    """Refuse more networks than there are copies, or arrays for, before any is built."""
    n_targets, n_members = len(pair["targets.mean"]), fitted["n_estimators_"]
    if type(n_members) is not int or min(n_targets, n_members) < 1:
        raise ValueError(f"{n_targets!r} targets of {n_members!r} networks")
    n_copies = len(fitted["blurs_"])
    if len(group) != n_targets - 1 or not all(type(i) is int and 0 <= i < n_copies for i in group):
        raise ValueError(f"{n_targets} targets for the copies {group} of {n_copies}")
    network, input_shape = fitted["_architecture"], fitted["input_shape_"]
    # Besides those by which the targets are standardised. Values and not arrays, of which a
    # small file can hold a great many, if they are empty.
    n_values = sum(value.size for name, value in pair.items() if name not in _STANDARDS)
    if n_values != count_values(network, input_shape, n_targets, n_members):
        raise ValueError(
            f"{n_values} values are not those of {n_targets} targets of {n_members} networks "
            f"{network!r} for inputs of shape {input_shape}"
        )
    if not (pair["targets.scale"] > 0).all():
        raise ValueError("targets.scale must be positive")


def _weights_of(number: int, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"pairs.{number}."
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _check_arrays(fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays of another type or shape than the detector has."""
    n_channels = fitted["input_shape_"][0]
    for name, value in arrays.items():
        expected = _DTYPES.get(name, np.float32 if name.startswith("pairs.") else np.float64)
        if value.dtype != expected or not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite and {expected.__name__}")
    for name in ("mean_", "scale_"):
        if arrays[name].shape != (n_channels,):
            raise ValueError(f"{name} must be of shape ({n_channels},)")
    for name in ("scale_", "_units"):
        if not (arrays[name] > 0).all():
            raise ValueError(f"{name} must be positive")
    if fitted["_trained"].ndim != 1:
        raise ValueError("_trained must have one axis")
    held_out = arrays.get("calibration_scores_", np.zeros(1))
    if held_out.ndim != 1 or not held_out.size or (np.diff(held_out) < 0).any():
        raise ValueError("calibration_scores_ must be in rising order")
    by_error = len(fitted["_pairs"])
    by_all = sum(min(2, len(pair["targets.mean"])) for pair in fitted["_pairs"])
    if arrays["_units"].shape not in {(by_error,), (by_all,)}:
        raise ValueError(f"_units must be of shape ({by_error},) or ({by_all},)")


def _encoded(value: Any, name: str) -> Any:
    """A value as JSON, with types that JSON has not as dicts of one name."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, list | np.ndarray):
        return [_encoded(one, name) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(one, name) for one in value]}
    if type(value) in _TRANSFORMERS.values():

        def encoded(values: dict[str, Any]) -> dict[str, Any]:
            return {key: _encoded(one, name) for key, one in values.items()}

        return {
            "transformer": type(value).__name__,
            "params": encoded(value.get_params(deep=False)),
            "fitted": encoded(_fitted(value)),
        }
    raise TypeError(
        f"{name.rstrip('_')}={value!r} cannot be saved without pickle: a file holds numbers, "
        "strings, and the blurs and geometry of this package. Use joblib for your own files."
    )


def _decoded(value: Any) -> Any:
    """Undo `_encoded`."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tuple"}:
        return tuple(_decoded(value["tuple"]))
    params, fitted = (
        {name: _decoded(one) for name, one in value[kind].items()} for kind in ("params", "fitted")
    )
    transformer = _TRANSFORMERS[value["transformer"]](**params)
    if not set(fitted) <= set(_FITTED):
        raise ValueError(f"{sorted(fitted)} are no attributes of a transformer")
    transformer._validate_params()
    for name, one in fitted.items():
        setattr(transformer, name, one)
    return transformer


def _fitted(transformer: Any) -> dict[str, Any]:
    return {name: getattr(transformer, name) for name in _FITTED if hasattr(transformer, name)}


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all that a file holds."""
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'Saving and loading without pickle needs safetensors: pip install "skrnd[io]"'
        ) from error
    return safetensors
