"""What a fit has learned so far, in a file, so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from numbers import Integral
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import joblib
import numpy as np
import torch

from ._containers import as_numpy
from ._distillation import Curves, Training
from ._distributed import Ranks
from ._files import remove_parts, write_whole
from ._warnings import warn

# Parameters that do not set one fit apart from another.
_INDIFFERENT = {"checkpoint", "device", "memory", "verbose"}
# Bytes in front of a file's content, by which a damaged one is known.
_N_DIGEST = hashlib.sha256().digest_size
# How the content begins, as torch writes it.
_START = b"PK"
# What it is made of.
_STATE = {"identity", "random_state", "curves", "trainings"}


class Checkpoint:
    """A file with the state of one fit.

    Parameters
    ----------
    path : str or path-like, or None
        None keeps nothing.
    ranks : Ranks
        The processes that fit together. The first alone reads and writes the file, and
        tells the others what was in it.

    Attributes
    ----------
    path : Path or None
    state : dict or None
        What an interrupted fit has left in the file.

    Raises
    ------
    ValueError
        If there is a file that is no checkpoint, or no folder for it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, ranks: Ranks) -> None:
        # Wherever the process may go meanwhile, and where a link leads to.
        self.path = None if path is None else Path(os.path.realpath(path))
        self._is_first = ranks.own == 0
        self._identity: dict[str, str] = {}
        self._beginning: tuple[Any, ...] = ()
        self.state: dict[str, Any] | None = None
        if self.path is None:
            return
        error = None
        try:
            self.state = _read(self.path) if self._is_first else None
        except ValueError as refusal:
            error = refusal
        # An error of one process would leave the others waiting.
        self.state, error = ranks.gather((self.state, error))[0]
        if error is not None:
            raise error

    def belongs_to(self, identity: dict[str, str]) -> None:
        """Say which fit this is of.

        Raises
        ------
        ValueError
            If the file is of a fit with other parameters or other data.
        """
        self._identity = identity
        if self.state is None:
            return
        left = self.state["identity"]
        names = [name for name in left | identity if left.get(name) != identity.get(name)]
        differing = sorted(map(str, names))
        if differing:
            random_state, before = self._generator
            random_state.set_state(before)
            raise self._refusal(", ".join(differing))

    def _refusal(self, difference: str) -> ValueError:
        return ValueError(
            f"checkpoint={str(self.path)!r} is of another fit, which differed in {difference}. "
            "Remove it, or choose another path."
        )

    @contextmanager
    def _refused_if_it_fails(self, difference: str) -> Iterator[None]:
        try:
            yield
        # Anyone can make the digest of anything, which can fail in nearly any way.
        except Exception as error:
            raise self._refusal(difference) from error

    def begin(self, random_state: np.random.RandomState) -> None:
        """Let a generator begin as the interrupted fit's did, and remember how it begins.

        If that was another fit, it will be as it was before.
        """
        self._generator = random_state, random_state.get_state()
        if self.state is not None:
            with self._refused_if_it_fails("random_state"):
                saved = self.state["random_state"]
                # numpy would draw from beyond the end.
                if not 0 <= saved[2] <= len(saved[1]):
                    raise ValueError(f"position {saved[2]}")
                random_state.set_state(saved)
        beginning: Any = random_state.get_state()
        name, key, *rest = beginning
        # torch would refuse an array of numpy in a file.
        self._beginning = (name, key.tolist(), *rest)

    def resume(self, trainings: Sequence[Training]) -> Curves:
        """Bring trainings to where those of the interrupted fit were; returns the curves so far."""
        if self.state is None:
            return Curves()
        # What a function builds may depend on more than can be told.
        with self._refused_if_it_fails("its networks"):
            for training, state in zip(trainings, self.state["trainings"], strict=True):
                training.load_state_dict(state)
            return Curves(**self.state["curves"])

    def write(self, trainings: Sequence[Training], curves: Curves) -> None:
        """Keep the state of the fit; a disk that fails is warned of and stops nothing."""
        if self.path is None or not self._is_first:
            return
        state = {
            "identity": self._identity,
            "random_state": self._beginning,
            "curves": asdict(curves),
            "trainings": [training.state_dict() for training in trainings],
        }
        # In one piece of memory, with room for the digest in front.
        content = io.BytesIO()
        content.write(bytes(_N_DIGEST))
        torch.save(state, content)
        whole = content.getbuffer()
        whole[:_N_DIGEST] = _digest(whole[_N_DIGEST:])
        try:
            write_whole(self.path, whole)
        except OSError as error:
            warn(
                f"checkpoint={str(self.path)!r} could not be written: {error}. The fit goes on, "
                "and the checkpoint before this one is kept.",
                RuntimeWarning,
            )

    def remove(self) -> None:
        """Remove the file of a fit that has come to its end."""
        if self.path is None or not self._is_first:
            return
        remove_parts(self.path)
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warn(
                f"checkpoint={str(self.path)!r} could not be removed: {error}. The fit is "
                "complete; remove the file, or the next fit goes on from it.",
                RuntimeWarning,
            )


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()


def _read(path: Path) -> dict[str, Any] | None:
    """What is in the file; None if there is none."""
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is in a folder that does not exist.")
    refusal = f"checkpoint={str(path)!r} is a file that holds no checkpoint, or not all of it."
    try:
        # A pipe would be waited for, and a device has no end.
        if path.exists() and not path.is_file():
            raise ValueError(f"checkpoint={str(path)!r} is not a regular file.")
        with path.open("rb") as file:
            digest, start = file.read(_N_DIGEST), file.read(len(_START))
            # What may be as large as a disk is not read whole.
            if start != _START:
                raise ValueError(refusal)
            content = start + file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"checkpoint={str(path)!r} cannot be read: {error}") from error
    if digest != _digest(content):
        raise ValueError(refusal)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # Anyone can make the digest of anything, of which torch can raise nearly anything.
    except Exception as error:
        raise ValueError(refusal) from error
    parts = state if isinstance(state, dict) else {}
    if set(parts) != _STATE or not isinstance(parts["identity"], dict):
        raise ValueError(refusal)
    return parts


def identity_of(params: dict[str, Any], **data: Any) -> dict[str, str]:
    """What sets one fit apart from others, in words that do not change between processes."""
    named = {name: value for name, value in params.items() if name not in _INDIFFERENT}
    # A generator, or none, begins where that of the interrupted fit did.
    seed = named.get("random_state")
    named["random_state"] = int(seed) if isinstance(seed, Integral) else None
    return {name: _in_words(value, {}) for name, value in {**named, **data}.items()}


def _in_words(value: Any, told: dict[int, Any]) -> str:
    """A value in words, without addresses in memory.

    `told` has, by their ids, the functions and objects that were told already: what they hold
    may lead back to them.
    """
    part = partial(_in_words, told=told)
    if isinstance(value, partial):
        return f"partial({part([value.func, value.args, value.keywords])})"
    if hasattr(value, "get_params") and not isinstance(value, type):
        return f"{part(type(value))}({part(value.get_params(deep=False))})"
    if isinstance(value, dict):
        pairs = (f"{key}={part(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(part, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(part, value)))}}}"
    if isinstance(value, np.ndarray | torch.Tensor):
        # Words would leave out what is in the middle.
        kind = f"{type(value).__name__} {tuple(value.shape)} {value.dtype}"
        return f"{kind} {joblib.hash(as_numpy(value))}"
    if isinstance(value, MethodType):
        return part([value.__self__, value.__func__])
    if isinstance(value, CodeType):
        # Not the lines it stands in.
        return part([value.co_code.hex(), value.co_names, value.co_consts])
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        return name if id(value) in told else f"{name} {part(_made_of(value, told))}"
    if hasattr(value, "__qualname__"):
        name = f"{value.__module__}.{value.__qualname__}"
        if not isinstance(value, type) or id(value) in told or _is_installed(value):
            return name
        told[id(value)] = value
        return f"{name} {part([value.__bases__, _methods_of(value)])}"
    words = repr(value)
    installed = _is_installed(type(value))
    # Also where it is the address of what it holds, as a dataclass says it.
    if f"{id(value):x}" not in words.lower() and " at 0x" not in words:
        return words if installed else f"{part(type(value))} {words}"
    # Without words of its own. What is installed keeps caches and the like.
    if id(value) in told or installed:
        return part(type(value))
    told[id(value)] = value
    return f"{part(type(value))} {part(getattr(value, '__dict__', {}))}"


def _made_of(function: FunctionType, told: dict[int, Any]) -> list[Any]:
    """What a function does, and what it takes from around it.

    A constant of a script may have been changed since; what is installed stays as it is.
    """
    told[id(function)] = function
    names: list[str] = []
    if not _is_installed(function):
        names = sorted(_names_in(function.__code__) & function.__globals__.keys())
    return [
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        inspect.getclosurevars(function).nonlocals,
        {name: function.__globals__[name] for name in names},
    ]


def _methods_of(kind: type) -> list[FunctionType]:
    """Functions that a class has of its own, also those of properties and the like."""
    held = (getattr(one, "__func__", getattr(one, "fget", one)) for one in vars(kind).values())
    return [one for one in held if isinstance(one, FunctionType)]


def _names_in(code: CodeType) -> set[str]:
    """Names that a function, or one within it, uses."""
    inner = (_names_in(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*inner)


def _is_installed(made: FunctionType | type) -> bool:
    """Whether a function or a class is of Python or of a package, and not of a user's script.

    Ours are, wherever they are imported from.
    """
    file = getattr(sys.modules.get(made.__module__), "__file__", None)
    folders = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    return made.__module__.partition(".")[0] in ("builtins", "skrnd") or (
        file is not None and any(Path(file).is_relative_to(folder) for folder in folders)
    )
