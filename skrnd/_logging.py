"""The package's logger, and `verbose` on top of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("skrnd")


@contextmanager
def verbosity(verbose: int) -> Iterator[None]:
    """Let INFO messages through for the block if `verbose`.

    They go where the program's logging sends them, and to stderr if it has not
    set any up.
    """
    if not verbose:
        yield
        return
    level, handler = logger.level, None
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)
