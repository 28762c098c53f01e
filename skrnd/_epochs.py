"""The epochs of a fit, and all that may stop them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning

from ._callbacks import CallbackContext
from ._checkpoint import Checkpoint
from ._distillation import Curves, Training, held_out_loss, run_epoch
from ._distributed import Ranks
from ._logging import logger
from ._warnings import warn


def run_epochs(
    trainings: list[Training],
    max_epochs: int,
    checkpoint: Checkpoint,
    context: CallbackContext,
    told: dict[str, Any],
    as_it_is: Callable[[Curves], dict[str, Any]],
    *,
    held: torch.Tensor | None,
    n_iter_no_change: int,
) -> tuple[Curves, bool]:
    """Run the epochs, of which callbacks are told, until something stops them.

    Parameters
    ----------
    trainings : list of Training
        Trained in place.
    max_epochs : int
        How many epochs there are, with those that a checkpoint has.
    checkpoint : Checkpoint
        Where to begin, and where to keep what was learned after every epoch.
    context : CallbackContext
    told : dict
        What callbacks are told of the fit.
    as_it_is : callable
        Given the curves so far, what callbacks are told of a detector that would end here.
    held : tensor or None
        Rows whose error stops the training when it has not fallen for `n_iter_no_change`
        epochs, and of which the best epoch is kept. None for no such rows.

    Returns
    -------
    curves : Curves
        If the training has diverged, its last loss is not finite. What it had learned before
        is kept if rows were held out, of which the last epoch then has no error.
    was_interrupted : bool
        Whether Ctrl-C has ended the training.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, if nothing has been learned yet, if the fit can be taken up again later, or
        if other processes take part in it.
    """
    ranks = trainings[0].ranks
    curves = checkpoint.resume(trainings)
    start, n_behind = time.monotonic(), len(curves.loss)
    if n_behind > 0:
        logger.info("going on after epoch %d", n_behind)
    checkpoint.write(trainings, curves)
    was_interrupted = False
    for number in range(n_behind + 1, max_epochs + 1):
        if curves.held_out and curves.n_since_best() >= n_iter_no_change:
            logger.info("no epoch of the last %d was better", n_iter_no_change)
            break
        epoch = context.subcontext(task_name="epoch")
        try:
            epoch.call_on_fit_task_begin(**told)
            curves.loss.append(run_epoch(trainings))
            # There is no way back, but to an epoch that was kept.
            if not math.isfinite(curves.loss[-1]):
                break
            per_epoch = (time.monotonic() - start) / (number - n_behind)
            logger.info(
                "epoch %d of %d: loss %.4f, about %.0f s left",
                number,
                max_epochs,
                curves.loss[-1],
                per_epoch * (max_epochs - number),
            )
            if held is not None:
                _keep_best(trainings, held, curves)
            checkpoint.write(trainings, curves)
            # To conclude takes all processes, and each has callbacks of its own.
            attributes = partial(as_it_is, curves) if ranks.size == 1 else None
            stop = epoch.call_on_fit_task_end(**told, reconstruction_attributes=attributes)
        except KeyboardInterrupt:
            if not may_conclude(curves, checkpoint, ranks):
                raise
            warn(
                f"Interrupted in epoch {number} of {max_epochs}; the detector keeps what it "
                "has learned so far.",
                ConvergenceWarning,
            )
            was_interrupted = True
            break
        if any(ranks.gather(stop)):
            logger.info("a callback stops the training")
            break
    return curves, was_interrupted


def may_conclude(curves: Curves, checkpoint: Checkpoint, ranks: Ranks) -> bool:
    """Whether a fit that Ctrl-C interrupts is to keep what it has learned.

    One that can be taken up again later is not to be concluded now, and one of several
    processes cannot be.
    """
    return bool(curves.loss) and checkpoint.path is None and ranks.size == 1


def _keep_best(trainings: list[Training], held: torch.Tensor, curves: Curves) -> None:
    """Look at the rows held out, and keep the predictors if none before were better."""
    curves.held_out.append(held_out_loss(trainings, held))
    logger.info("error on the rows held out %.4f", curves.held_out[-1])
    if curves.n_since_best() == 0:
        for training in trainings:
            training.keep()
