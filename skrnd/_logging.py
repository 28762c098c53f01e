"""The package's logger, and `verbose` on top of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

logger = logging.getLogger("skrnd")
# Of blocks that overlap in several threads, the first sets the logger up and the last puts
# it back.
_LOCK = threading.Lock()
_n_verbose = 0
_undo = ExitStack()


@contextmanager
def verbosity(verbose: int) -> Iterator[None]:
    """Let INFO messages through for the block if `verbose`.

    They go where the program's logging sends them, and to stderr if it has not
    set any up.
    """
    global _n_verbose
    if not verbose:
        yield
        return
    with _LOCK:
        if _n_verbose == 0:
            _let_through()
        _n_verbose += 1
    try:
        yield
    finally:
        with _LOCK:
            _n_verbose -= 1
            if _n_verbose == 0:
                _undo.close()


def _let_through() -> None:
    if not logger.isEnabledFor(logging.INFO):
        _undo.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        _undo.callback(logger.removeHandler, handler)
        logger.addHandler(handler)
