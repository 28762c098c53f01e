"""Export a fitted detector to ONNX, for where there is neither this package nor torch."""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import warnings
from copy import deepcopy
from pathlib import Path

import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch import nn

from ._detector import SVDRNDDetector, fitted_detector
from ._files import write_whole
from ._inputs import FARTHEST
from ._threads import own_torch_state

__all__ = ["to_onnx"]

# What a message of protobuf holds.
_MOST_BYTES = 2**31 - 1


class _Verdict(nn.Module):
    """Everything between an image and its verdict as one module."""

    mean: torch.Tensor
    scale: torch.Tensor
    units: torch.Tensor
    offset: torch.Tensor

    def __init__(self, detector: SVDRNDDetector) -> None:
        super().__init__()
        # A copy: the export touches the modules that it traces.
        self.pairs = nn.ModuleList(deepcopy(detector._pairs))
        self.layout = detector._layout
        per_channel = (-1,) + (1,) * (len(detector.input_shape_) - 1)
        self.register_buffer("mean", torch.tensor(detector.mean_).reshape(per_channel))
        self.register_buffer("scale", torch.tensor(detector.scale_).reshape(per_channel))
        self.register_buffer("units", torch.tensor(detector._units))
        self.register_buffer("offset", torch.tensor(detector.offset_, dtype=torch.float64))

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = X.to(torch.float64)
        if self.layout is not None:
            values = self.layout.to_nchw(values)
        inputs = ((values - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST).to(torch.float32)
        novelties = torch.cat([pair(inputs) for pair in self.pairs], dim=1)
        scores = -(novelties / self.units).amax(1)
        return scores, torch.where(scores >= self.offset, 1, -1)


def to_onnx(detector: SVDRNDDetector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector as one ONNX graph: images in, scores and labels out.

    Standardisation and threshold are part of the graph, so that nothing but a runtime
    for ONNX is needed to use it. Checks are not: a row that holds NaN has the score NaN
    and the label -1.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted, on any device. It is not changed.
    path : str or path-like
        Where to write. An existing file is replaced once the new one is whole.

    Raises
    ------
    TypeError
        If it is not an SVDRNDDetector. Pass the last step of a Pipeline; what the other
        steps do is not in the graph.
    NotFittedError
        If the detector is not fitted.
    ValueError
        If the networks take more than the 2 GB that one file can hold.
    ImportError
        Without onnx and onnxscript; ``pip install "skrnd[onnx]"`` brings them.
    OSError
        If the file cannot be written.
    RuntimeError
        In a daemonic process, such as a worker of ``multiprocessing.Pool``, which may
        not start another one.

    See Also
    --------
    skrnd.persistence.save : For this package, without pickle.

    Notes
    -----
    The input is called ``X``: any number of rows, float32, of the shape seen in `fit`. There
    are two outputs of shape (n,): ``score``, float64, as `score_samples` returns it, and
    ``label``, int64, 1 for normal and -1 for novel, as `predict` returns it. They agree
    with those of the detector to about 1e-6 if float32 holds all digits of X. A row whose
    score is that close to the threshold may get the other label. The metadata of the file name
    the version of this package, ``skrnd.version``, and the threshold, ``skrnd.offset``.

    torch's exporter changes settings of the whole process while it works. It is given one of
    its own, whose start takes some seconds, so that this one can fit and score meanwhile.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.export import to_onnx
    >>> X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    >>> detector = SVDRNDDetector(random_state=0).fit(X)
    >>> to_onnx(detector, "detector.onnx")  # doctest: +SKIP
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("detector.onnx")  # doctest: +SKIP
    >>> score, label = session.run(None, {"X": X})  # doctest: +SKIP
    """
    from . import __version__

    detector = fitted_detector(detector, "to_onnx")
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'to_onnx needs {" and ".join(missing)}: pip install "skrnd[onnx]"')
    n_bytes = sum(value.nbytes for pair in detector._pairs for value in pair.state_dict().values())
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"A graph in one file holds at most {_MOST_BYTES / 1e9:.1f} GB; the networks of this "
            f"detector have {n_bytes / 1e9:.1f} GB."
        )
    if multiprocessing.current_process().daemon:
        raise RuntimeError(
            "to_onnx starts a process of its own, which a daemonic one, such as a worker of a "
            "pool, may not do."
        )
    metadata = {"skrnd.version": __version__, "skrnd.offset": repr(float(detector.offset_))}
    with own_torch_state():
        verdict = _Verdict(detector).cpu().eval()
    # torch's exporter changes settings that other threads of this process go by.
    with ProcessPoolExecutor(max_workers=1) as process:
        export = process.submit(_graph, verdict, detector.sample_shape_, metadata)
        try:
            graph = export.result()
        except BaseException:
            # Ctrl-C may have reached this process only.
            process.shutdown(kill_workers=True)
            raise
    write_whole(Path(path), graph)


def _graph(verdict: nn.Module, sample_shape: tuple[int, ...], metadata: dict[str, str]) -> bytes:
    """A module as ONNX, in a process that does nothing else."""
    # What torch's exporter says of itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    program = torch.onnx.export(
        verdict,
        # Two rows, for a graph of one would be one for one row only.
        (torch.zeros(2, *sample_shape, dtype=torch.float32),),
        dynamo=True,
        input_names=["X"],
        output_names=["score", "label"],
        dynamic_shapes=({0: torch.export.Dim("n_rows")},),
        verbose=False,
    )
    assert program is not None  # which it is for the older exporter only
    program.model.metadata_props.update(metadata)
    graph: bytes = program.model_proto.SerializeToString()
    return graph
