"""The novelty detector."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from itertools import chain
from numbers import Integral, Real
from typing import Any, Self

import joblib
import numpy as np
import torch
from joblib import Memory
from sklearn import get_config
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted, check_memory

from ._backend import resolve_device, resolve_precision, total_memory
from ._callbacks import CallbackContext, CallbackSupportMixin
from ._checkpoint import Checkpoint, identity_of
from ._containers import as_numpy, in_namespace_of, take_rows
from ._copies import BLURS, check_choice, count_targets, make_blurs, make_copies
from ._decorators import fit_context, validate_params
from ._distillation import (
    Curves,
    DistilledPair,
    StandardisedTargets,
    Training,
    answer,
    load_pair,
)
from ._distributed import Ranks
from ._documentation import DocumentationLinkMixin
from ._epochs import may_conclude, run_epochs
from ._images import ImageLayout
from ._inputs import Inputs, block_rows, doubt_scale, learn_scale
from ._logging import verbosity
from ._networks import NetworkFactory, Targets, build_networks, check_network, check_room
from ._split import are_among, row_keys, train_and_held_out
from ._storage import Storage, working_bytes
from ._strength import sample_size
from ._threads import own_torch_state
from ._threshold import (
    CalibrationWarning,
    alarm_levels,
    conformal_p_values,
    fewest_rows,
    held_out_threshold,
    rows_apart,
    training_threshold,
)
from ._validation import (
    LAYOUT_CONSTRAINTS,
    LIKELY_PIXELS,
    LOOKED_AT,
    doubt_labels,
    inlier_rows,
    look_like_pixels,
    validate_rows,
)
from ._warnings import warn

# Share of new normal rows that contamination="auto" lets the threshold call novel.
_FALSE_ALARM_RATE = 0.05
# Images, not counting copies, that a training with max_epochs="auto" goes through.
_ROWS_SEEN = 18_000
# Training images from which on n_estimators="auto" averages two networks of each kind;
# there a second one buys more than further epochs.
_MANY_ROWS = 8_000
# Share of the rows that set a threshold which may be among those trained on: a few may be
# alike without being the same. If so many score too well, a third more alarms are false.
_MANY_TRAINED_ON = 1 / 4
# For those who have the detector in something else.
WHAT_TO_PASS = "Pass the last step of a Pipeline, or the best_estimator_ of a search."


class SVDRNDDetector(CallbackSupportMixin, OutlierMixin, DocumentationLinkMixin, BaseEstimator):
    """Novelty detection for images by distilling random networks.

    A target is a neural network with random weights that never change. A predictor is a
    network that is trained to mimic one target on the normal images, and other targets on
    blurred copies of them. How badly it mimics the first target on a new image is, in the
    simplest case, the novelty of that image. Without the blurred copies (``blur=None``, plain
    random network distillation), images smoother than the normal ones are mimicked best of
    all and pass for normal; with them, the predictor learns that smooth is not normal [1]_.
    By default a second predictor learns from a sharpened copy that sharp is not normal either.

    Parameters
    ----------
    k : "auto", int, float or list of numbers, default="auto"
        Strength of the blurs that `blur` names by a string. For "svd" and "two-sided": how
        many of the smallest non-zero singular values are zeroed, as an int (the paper's K) or
        as a share of the shorter side, in (0, 1). For "dct": how many of the highest
        frequencies are dropped along each axis, as an int or a share in (0, 1). For
        "gaussian": the standard deviation in pixels. Several strengths make several blurred
        copies, each with its own target. "auto" takes the mildest strength that still shows
        in up to 256 normal images (held-out ones, where there are any): see the notes;
        `k_` holds it. Where `blur` holds estimators, a number replaces the parameter `k`
        of each that has one, except `SVDSharpen`; "auto" leaves it as it is.
    blur : {"two-sided", "svd", "dct", "gaussian"}, transformer, list or None, default="two-sided"
        What makes the copies. "svd" is the paper's method, and finds images that are smoother
        than the normal ones. "two-sided" finds sharper ones as well: in addition to the
        predictor of "svd" it trains a second one, on two copies. One is sharpened by
        :class:`~skrnd.blur.SVDSharpen`, whose strength is always chosen from the normal images;
        the other is softened by ``SVDSoften(k)`` until it is as simple as the blurred one.
        "dct" and "gaussian" blur by :class:`~skrnd.blur.DCTBlur` and
        :class:`~skrnd.blur.GaussianBlur`. A transformer may be any that keeps the shape of
        images, one of :mod:`skrnd.blur` or a
        :class:`~sklearn.preprocessing.FunctionTransformer` for instance. It is given float32
        images of shape (n, C, H, W), whatever the layout of X, with every channel
        standardised. A list holds several of all these. None trains without copies, which
        is plain random network distillation. Plain rows, X of shape (n, n_features)
        without `image_shape`, never have copies.
    geometry : transformer, list of transformers or None, default=None
        What makes further copies, for every predictor: the transformers of
        :mod:`skrnd.geometry`, which turn or shift images for instance, or others that meet
        the same conditions as those of `blur`.
    criterion : {"auto", "contrast", "error"}, default="auto"
        How the novelty of a row is measured. "error" is the paper's: how badly the predictor
        mimics the first target. "contrast" takes into account, besides the error, how far the
        predictor's answer has moved towards another target; see the notes. "auto" is
        "contrast" for images if "two-sided" is among the blurs, and "error" otherwise.
    network : {"auto", "resnet34"} or callable, default="auto"
        Architecture of targets and predictors. "auto" is a compact residual network that
        adapts to the size of the images, or a small perceptron for plain rows. "resnet34" is
        the paper's, for images, with 512 outputs. A callable is given the shape of one input,
        (C, H, W) or (n_features,), and returns a new :class:`torch.nn.Module`, with random
        weights, that maps (n, ...) to (n, n_outputs). It is called `n_estimators_` times for
        each predictor and each target.
    n_estimators : "auto" or int, default="auto"
        Number of independent networks that make up each predictor and each target, at least
        1; their errors are averaged. "auto" is 5 for plain rows. For images it is 1, or 2
        where ``network="auto"`` is trained on 8,000 images or more.
    max_epochs : "auto" or int, default="auto"
        Number of passes over the training rows and their copies (epochs), at least 1. "auto"
        makes as many as it takes to go through 18,000 images, not counting their copies, but
        at least 3 and at most 50. For plain rows it makes as many as it takes for 1,500
        training steps, but at most 100.
    batch_size : int, default=32
        Number of rows in one training step, originals and copies mixed; at least 2.
    learning_rate : float, default=8e-3
        Largest step size of the Adam optimiser, above 0. The step size rises to it in the
        first tenth of the training, and then falls to almost nothing (one-cycle schedule).
    contamination : "auto" or float, default="auto"
        How the threshold is set. "auto" holds `validation_fraction` of the rows out of the
        training and sets `offset_` on them, so that 5 % of new normal rows are expected to be
        called novel. A float in (0, 0.5] has scikit-learn's meaning, the share of outliers in
        the training data: all rows are trained on, unless `early_stopping` holds some out, and
        this share of them is called novel. That threshold is for the rows of `fit` only. They
        are learned better than new rows, of which more are called novel, and far more on tables.
    validation_fraction : float, default=0.1
        Share of the rows that ``contamination="auto"`` or `early_stopping` holds out, in (0, 1).
    early_stopping : bool, default=False
        Whether to keep the predictors of the epoch in which the error on the held-out rows
        was lowest, and to end the training when that error has not fallen for
        `n_iter_no_change` epochs. It is off by default because the step size falls to almost
        nothing, so that the best epoch is one of the last.
    n_iter_no_change : int, default=10
        Number of epochs to wait with `early_stopping`, at least 1.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image. Flat rows without
        it are plain features, which are standardised and have no blurred copies.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.
    device : str or torch.device, default="auto"
        Device for training and scoring: "auto" (an accelerator if torch finds one, or else the
        CPU), "cpu", "cuda", "cuda:1", "mps", "xpu".
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Floating-point format of the training. "auto" is bfloat16 for images on processors and
        CUDA devices that multiply it natively, and float32 otherwise. Scores are always
        computed in float32.
    random_state : int, RandomState instance or None, default=None
        Determines the weights, the order of the rows and which rows are held out. With an
        int, every fit on a CPU with the same number of threads gives the same model; None draws
        a fresh seed each time. Global generators are neither used nor changed.
    warm_start : bool, default=False
        Whether another call of `fit` goes on from the predictors of the last one, instead of
        drawing new ones. It goes on at a tenth of `learning_rate`. The targets, the scale of
        the images, the copies and `n_estimators_` stay those of the first fit, so that errors
        and contrasts keep their meaning; parameters that set these are not looked at again.
        The threshold is set anew, and so are the levels by which several judgements are
        compared. See also :meth:`partial_fit`.
    checkpoint : str or path-like, default=None
        Path of a file that is written after every epoch, with what has been learned. If a fit
        is interrupted or killed, call `fit` again with the same parameters and X, in this
        process or another: it goes on from the file, and removes it at its end. On the same CPU
        with the same number of threads, the detector is then the same to the bit as after
        one fit without interruption. A file is for one fit at a time, not for a search. Use
        files of your own only: a forged one can spoil what is learned.
    memory : str or object with the joblib.Memory interface, default=None
        Cache of what is the same for all fits on the same images, in a search for instance: the
        singular value decompositions of the images, whatever `k` is, and, with the same int as
        `random_state`, the outputs of the targets. A str is the folder of the cache. The
        outputs of networks that a callable `network` makes are not kept. None keeps nothing.
    verbose : bool or int, default=0
        Whether to log the loss of every epoch, at level INFO, to the logger "skrnd".

    Attributes
    ----------
    offset_ : float
        Threshold: ``decision_function(X) = score_samples(X) - offset_``. It is for scores that
        were computed since the last `fit`, `partial_fit` or `calibrate`.
    calibration_scores_ : ndarray of shape (m,) or None
        Scores, in rising order, of the normal rows that set the threshold: of those held out
        or given to :meth:`calibrate` or, where there are several judgements (see the notes),
        of two thirds of these. None after a fit with a number as `contamination`.
    k_ : int, float, list or None
        The strengths that `k` set, or that were chosen for it: a list if `k` is one or if
        there are several, and None if `k` set none.
    blurs_ : list of transformers
        The fitted transformers that made the copies, one for each copy.
    loss_curve_ : list of float
        Loss of each epoch: the squared error per standardised output, averaged over all
        copies and predictors. A predictor that always gives the mean answer has a loss of 1.
    validation_loss_curve_ : list of float or None
        Error on the held-out rows after each epoch, averaged over the predictors. None without
        `early_stopping`; NaN for the epochs of earlier fits that were without it.
    n_features_in_ : int
        ``X.shape[1]``: features of plain rows; of images, the channels or the height.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.
    input_shape_ : tuple of int
        Shape in which the networks see a row: (C, H, W) or (n_features,).
    mean_, scale_ : ndarray of shape (C,) or (n_features,)
        Mean and standard deviation of each channel or feature, by which X is standardised.
    n_estimators_ : int
        Number of networks that make up each predictor and each target.
    device_ : str
        Device that holds the networks, such as "cpu" or "cuda:0".
    precision_ : str
        Floating-point format the predictors were trained in, "float32" or "bfloat16".

    See Also
    --------
    skrnd.blur : The blurs as transformers.
    skrnd.model_selection.ProbeScorer : Compare detectors without any novel image.
    skrnd.metrics : Figures of merit of a detector.
    sklearn.ensemble.IsolationForest : For plain rows, without networks.

    Notes
    -----
    Let ``f`` be the predictor, ``g_0, ..., g_b`` the targets, ``D_0`` the training set and
    ``D_1, ..., D_b`` its copies. Training minimises the sum of ``|f(x) - g_i(x)|^2`` over all
    i and all x in ``D_i``; every output of ``g_i`` is standardised over ``D_i``. The error of
    a row is the mean over the m outputs::

        e(x) = |f(x) - g_0(x)|^2 / m

    and its contrast says how far the answer of the predictor has moved from the first target
    to another::

        c(x) = max(0, max_i c_i(x)),    i = 1, ..., b
        c_i(x) = 1 + (|f(x) - g_0(x)|^2 - |f(x) - g_i(x)|^2) / |g_i(x) - g_0(x)|^2

    It is 1 where the answer is as near to that target as to the first, and 2 where it has
    arrived there. The contrast gives away a row that looks like a copy, even where the first
    target is easy to mimic on it; the error gives away a row that looks like nothing seen
    before.

    There may be several such judgements: the error and the contrast, of each of the two
    predictors of "two-sided". Each is then divided by its level, the threshold that it would
    have alone, and the novelty of the row is the largest quotient::

        score(x) = -max_j judgement_j(x) / level_j

    A third of the rows held out, or of those given to :meth:`calibrate`, sets these levels, and
    the others set the threshold. A judgement that is alone has the level 1.

    ``k="auto"`` measures how sharp each normal image is, by the mean squared difference of
    neighbouring pixels, and how simple, by the entropy of its singular values, the log
    effective rank. It finds one strength by each and takes the stronger. By sharpness, the copy
    is the less sharp one in about 60 % of all pairs of an image and a copy (75 % with
    ``blur="svd"``, 85 % with "dct" and "gaussian"); by simplicity, the copies keep about half
    of the mean log effective rank of the images (75 % for "dct", 85 % for "gaussian"). The
    strength of the sharpened copy is chosen so that the copy is the sharper one in about 63 %
    of the pairs. Images of one value are left out of this.

    With default parameters this is more than the method of [1]_, which is ``blur="svd"``.

    Novel images that are about as sharp as the normal ones and differ in what they show,
    other classes of CIFAR-10 for a detector of half of them for instance, are mostly not found.

    Scores, p-values and labels are numpy arrays or, if X is a torch tensor and scikit-learn's
    `array_api_dispatch` is on, tensors on the device of X.

    References
    ----------
    .. [1] Choi and Chung, "Novelty Detection Via Blurring", ICLR 2020,
       arXiv:1911.11943.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 8, 8))
    >>> detector = SVDRNDDetector(max_epochs=5, random_state=0).fit(X)  # few, for show
    >>> X_new = rng.normal(size=(4, 8, 8))
    >>> detector.predict(5 * X_new)
    array([-1, -1, -1, -1])
    """

    # Set in the checks of X.
    n_features_in_: int
    feature_names_in_: np.ndarray
    sample_shape_: tuple[int, ...]

    _parameter_constraints: dict[str, Any] = {
        "k": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, None, closed="neither"),
            "array-like",
        ],
        "blur": [StrOptions(set(BLURS)), HasMethods(["fit", "transform"]), list, tuple, None],
        "geometry": [HasMethods(["fit", "transform"]), list, tuple, None],
        "criterion": [StrOptions({"auto", "contrast", "error"})],
        "network": [StrOptions({"auto", "resnet34"}), callable],
        "n_estimators": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "early_stopping": ["boolean"],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        **LAYOUT_CONSTRAINTS,
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        k: Any = "auto",
        *,
        blur: Any = "two-sided",
        geometry: Any = None,
        criterion: str = "auto",
        network: str | NetworkFactory = "auto",
        n_estimators: str | int = "auto",
        max_epochs: str | int = "auto",
        batch_size: int = 32,
        learning_rate: float = 8e-3,
        contamination: str | float = "auto",
        validation_fraction: float = 0.1,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
        device: str | torch.device = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        memory: Any = None,
        verbose: int = 0,
    ) -> None:
        self.k = k
        self.blur = blur
        self.geometry = geometry
        self.criterion = criterion
        self.network = network
        self.n_estimators = n_estimators
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.memory = memory
        self.verbose = verbose

    # -- training ---------------------------------------------------------

    # The blurs are the user's too: their parameters are validated as well.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what is normal.

        Ctrl-C ends the training and keeps what was learned so far, with a ConvergenceWarning; a
        second one ends the fit. In the first epoch, with `checkpoint`, or among several
        processes, the KeyboardInterrupt is raised instead. Callbacks of scikit-learn 1.9 or later
        (`set_callbacks`) are told of every epoch and may end the training too.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or rows of shape
            (n, n_features), of any real dtype. A torch Dataset of these is accepted too, and
            so is a DataLoader that keeps the order of its rows. Arrays of HDF5 and Zarr files
            and of dask are read slice by slice.
        y : array-like of shape (n,), default=None
            Rows labelled -1, scikit-learn's label of an outlier, are left out of the training.
            Any other label means normal. If there are two labels and neither is -1, a warning
            says so: one of them may mean outliers, which would be trained on.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If X is not finite and real, or its variance is not finite; if it has fewer than
            two normal rows, channels that cannot be told, or images too small for the
            networks; if `y` and X differ in length; if a parameter is out of range, as `k`
            for the images; if a copy has another shape than its image, or is not finite; if
            the networks that `network` makes do not take the images, or have nothing to train;
            if networks do not fit into memory, or the device is not there; if `checkpoint`
            belongs to another fit, or names no file that can be; or if the training diverges.
        OSError
            If the disk has no room for what exceeds half of scikit-learn's `working_memory`, or
            if `memory` names no folder that can be.
        TypeError
            If X is sparse or holds objects that are not numbers, if `blur` or `geometry` is
            not a transformer, or if `network` is a module or does not return one.

        Warns
        -----
        CalibrationWarning
            If fewer than 19 held-out rows set the threshold, if more than a quarter of them are
            equal to rows that are trained on, or if `warm_start` meets none but rows that were
            trained on before.
        ConvergenceWarning
            If Ctrl-C has ended the training, or came after its last epoch.
        RuntimeWarning
            If a batch does not fit into the memory of the device, and is split, or if
            `checkpoint` cannot be written or removed.
        UserWarning
            If `y`, or plain rows that look like flattened images, may not mean what they are
            taken for, if copies equal the images, or if `warm_start` meets values of another
            range.
        """
        goes_on = self.warm_start and hasattr(self, "_pairs")
        return self._learn(X, y, goes_on=goes_on, max_epochs=self.max_epochs)

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn a little more of what is normal, from new images.

        It makes one pass over the new images and their copies, at a tenth of
        `learning_rate`; all else is as with `warm_start`. What is not shown again is
        gradually forgotten. The threshold is set anew on rows of X that are held out, as long
        as there are some that were never trained on, or with a number as `contamination` on
        all of X. If these are few, call :meth:`calibrate` afterwards. Before `fit`, this is the
        same as `fit`.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.
        y : array-like of shape (n,), default=None
            Rows labelled -1, scikit-learn's label of an outlier, are left out of the training.
            Any other label means normal.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError, TypeError, OSError
            As `fit` does, and if the rows have another shape than in `fit`.

        Warns
        -----
        CalibrationWarning
            If fewer than 19 held-out rows set the threshold, or if all rows were trained on
            before.
        UserWarning
            As `fit` does.
        """
        goes_on = hasattr(self, "_pairs")
        # Of a fitted estimator, scikit-learn leaves that to `fit`.
        if goes_on and not get_config()["skip_parameter_validation"]:
            self._validate_params()
        return self._learn(X, y, goes_on=goes_on, max_epochs=1 if goes_on else self.max_epochs)

    def _learn(self, X: Any, y: Any, *, goes_on: bool, max_epochs: str | int) -> Self:
        context = self._init_callback_context(max_subtasks=None)
        # Other threads, and callbacks, may go on scoring with what was learned before, which
        # is also what a fit that fails leaves.
        learner = self._snapshot()
        with own_torch_state(), verbosity(self.verbose):
            learner._fit(X, y, context, self, goes_on=goes_on, max_epochs=max_epochs)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        context: CallbackContext,
        public: SVDRNDDetector,
        *,
        goes_on: bool,
        max_epochs: str | int,
    ) -> None:
        """Learn, and let `public`, which this detector is a snapshot of, have learned it."""
        before = vars(self).copy()
        X, layout, normal = self._normal_rows(X, y, reset=not goes_on)
        ranks = Ranks()
        if ranks.size > 1:
            self._agree(X, normal, ranks, goes_on=goes_on, max_epochs=max_epochs)
        checkpoint = Checkpoint(self.checkpoint, ranks)
        random_state = self._begin(checkpoint, ranks)
        generator = torch.Generator(device="cpu")
        generator.manual_seed(int(random_state.randint(np.iinfo(np.int32).max)))
        if not goes_on:
            self._layout = layout
        plain = self._layout is None
        device = resolve_device(self.device, plain=plain)
        self.device_ = str(device)
        precision = resolve_precision(self.precision, device, plain=plain)

        train, held_out, sample = self._split(X, normal, random_state, ranks, goes_on=goes_on)
        n_train = len(train) * ranks.size
        if not goes_on:
            check_choice(self.k, self.blur, self.geometry)
            self.input_shape_ = self.sample_shape_ if layout is None else layout.chw
            self.n_estimators_ = self._resolve_n_estimators(n_train)
            self._architecture = self.network
        check_network(self._architecture, self.input_shape_)
        if goes_on:
            n_targets = [1 + len(group) for group in self._groups]
        else:
            n_targets = [1] if plain else count_targets(self.k, self.blur, self.geometry)
        available = total_memory(device)
        check_room(
            self._architecture,
            self.input_shape_,
            n_targets=n_targets,
            n_members=self.n_estimators_,
            batch_size=min(int(self.batch_size), n_train),
            available=available,
        )
        if not goes_on:
            self.mean_, self.scale_ = learn_scale(X, train, layout, ranks)
        max_epochs = self._resolve_max_epochs(max_epochs, n_train)
        storage = Storage(working_bytes(1 / 2))
        memory = check_memory(self.memory)
        originals, held = self._read(X, train, held_out, storage, ranks, goes_on=goes_on)
        if self.checkpoint is not None:
            begun = (max_epochs, joblib.hash(self.__getstate__()["_pairs"])) if goes_on else None
            checkpoint.belongs_to(
                self._identity((originals, held), ranks, arithmetic=precision, goes_on=begun)
            )
        if not goes_on:
            self._choose_blurs(X, sample, originals, memory)
        if self.contamination == "auto":
            self._doubt_threshold(sum(ranks.gather(len(held))))
        copies = [originals, *(storage.empty(originals.shape) for _ in self.blurs_)]
        make_copies(self.blurs_, originals.numpy(), [copy.numpy() for copy in copies[1:]], memory)
        trainings = [
            self._prepare(
                self._pairs[number] if goes_on else None,
                [copies[0], *(copies[1 + i] for i in group)],
                storage=storage,
                device=device,
                precision=precision,
                max_epochs=max_epochs,
                generator=generator,
                available=available,
                ranks=ranks,
                # Weights do not tell what a function builds from what it built before.
                memory=check_memory(None) if callable(self._architecture) else memory,
            )
            for number, group in enumerate(self._groups)
        ]
        self.precision_ = str(precision).removeprefix("torch.")
        earlier = self._curves() if goes_on else Curves()

        # A share of the training data is one of all rows of it.
        judged = [held] if self.contamination == "auto" or held is originals else [originals, held]

        def conclude(detector: SVDRNDDetector, curves: Curves) -> None:
            detector._conclude(
                curves, trainings=trainings, judged=judged, ranks=ranks, earlier=earlier
            )

        context.max_subtasks = max_epochs
        told = {"estimator": public, "X": X, "y": y}
        context.call_on_fit_task_begin(**told)
        curves, was_interrupted = run_epochs(
            trainings,
            max_epochs,
            checkpoint,
            context,
            told,
            partial(self._as_it_is, conclude),
            held=held if self.early_stopping else None,
            n_iter_no_change=self.n_iter_no_change,
        )
        try:
            conclude(self, curves)
        except KeyboardInterrupt:
            if was_interrupted or not may_conclude(curves, checkpoint, ranks):
                raise
            warn("Interrupted after the training, which is complete.", ConvergenceWarning)
            conclude(self, curves)
        self._hand_over(public, before)
        checkpoint.remove()
        context.call_on_fit_task_end(**told, reconstruction_attributes=partial(dict, vars(self)))

    def _hand_over(self, public: SVDRNDDetector, before: dict[str, Any]) -> None:
        """Let `public` have what was learned since `before`, and keep what callbacks have set."""
        now = vars(self)
        learned = {
            name: value
            for name, value in now.items()
            if name not in before or value is not before[name]
        }
        forgotten = before.keys() - now.keys()
        others = {name: value for name, value in vars(public).items() if name not in forgotten}
        # At once: other threads may be scoring.
        public.__dict__ = others | learned

    def _normal_rows(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[Any, ImageLayout | None, np.ndarray]:
        """X as an array of numpy or an unread one, its layout, and which rows are normal."""
        X, layout = validate_rows(self, X, reset=reset, ensure_min_samples=2, allow_unread=True)
        X = as_numpy(X)
        normal = np.flatnonzero(inlier_rows(y, X.shape[0]))
        if y is not None and len(normal) == X.shape[0]:
            doubt_labels(y)
        if len(normal) < 2:
            raise ValueError(
                "y leaves n_samples = 1 normal row; at least 2 are needed, one to train on "
                "and one to set the threshold."
            )
        return X, layout, normal

    def _agree(
        self,
        X: Any,
        normal: np.ndarray,
        ranks: Ranks,
        *,
        goes_on: bool,
        max_epochs: str | int,
    ) -> None:
        """Refuse to begin unless all processes fit the same, by a few rows of X."""
        some = np.unique(np.linspace(0, X.shape[0] - 1, 8).astype(int))
        ranks.agree(
            identity_of(
                {**self.get_params(deep=False), "max_epochs": max_epochs},
                X=[tuple(X.shape), joblib.hash(np.asarray(take_rows(X, some)))],
                y=joblib.hash(normal),
                checkpoint=self.checkpoint is None,
                goes_on=goes_on,
            )
        )

    def _begin(self, checkpoint: Checkpoint, ranks: Ranks) -> np.random.RandomState:
        """What all draws come from: as in a fit that was interrupted, the same in all processes."""
        # Not check_random_state(None), which draws from numpy's global generator.
        random_state = (
            np.random.RandomState()
            if self.random_state is None
            else check_random_state(self.random_state)
        )
        checkpoint.begin(random_state)
        if ranks.size == 1:
            return random_state
        (seed, *_) = ranks.gather(random_state.randint(np.iinfo(np.int32).max))
        return np.random.RandomState(seed)

    def _identity(self, inputs: Iterable[torch.Tensor], ranks: Ranks, **how: Any) -> dict[str, str]:
        """What sets a fit apart from others, in words: its parameters and what it learns from."""
        return identity_of(
            self.get_params(deep=False),
            X=[
                *ranks.gather([joblib.hash(rows.numpy()) for rows in inputs]),
                self.mean_.tolist(),
                self.scale_.tolist(),
            ],
            processes=ranks.size,
            **how,
        )

    def _as_it_is(
        self, conclude: Callable[[SVDRNDDetector, Curves], None], curves: Curves
    ) -> dict[str, Any]:
        """Attributes of a detector that would end its training with this epoch."""
        ended = self._snapshot()
        conclude(ended, curves)
        return dict(vars(ended))

    def _snapshot(self) -> Self:
        """A detector that stays as this one is now, whatever other threads make of it."""
        snapshot: Self = object.__new__(type(self))
        snapshot.__dict__.update(vars(self))
        return snapshot

    def _conclude(
        self,
        curves: Curves,
        *,
        trainings: list[Training],
        judged: list[torch.Tensor],
        ranks: Ranks,
        earlier: Curves,
    ) -> None:
        """Take the predictors, and set the threshold by the rows that are judged."""
        self.loss_curve_ = [*earlier.loss, *curves.loss]
        self.validation_loss_curve_ = None
        if self.early_stopping:
            self.validation_loss_curve_ = [*earlier.held_out, *curves.held_out]
        all_judge = self._judges_by_all_targets()
        self._pairs = [training.pair(all_judge=all_judge) for training in trainings]
        size = block_rows(self.input_shape_)
        blocks = chain.from_iterable(rows.split(size) for rows in judged)
        novelties = np.concatenate(ranks.gather(self._novelties(blocks)))
        kept_none = not math.isfinite(curves.loss[-1]) and not curves.held_out
        if kept_none or not np.isfinite(novelties).all():
            raise self._diverged(curves)
        self._set_threshold(novelties)

    def _curves(self) -> Curves:
        """Those of the fits so far; NaN where nobody looked at the rows held out."""
        unseen = [math.nan] * len(self.loss_curve_)
        held_out = self.validation_loss_curve_ or []
        # One that Ctrl-C has ended, or that diverged, may have a loss and nothing else.
        return Curves(self.loss_curve_, [*held_out, *unseen[len(held_out) :]])

    def _diverged(self, curves: Curves) -> ValueError:
        return ValueError(
            f"The training diverged: the loss of epoch {len(curves.loss)} was {curves.loss[-1]}, "
            f"or the errors after it are not finite. learning_rate={self.learning_rate} may be too "
            "large, or X held values that are not finite while it was read."
        )

    def _read(
        self,
        X: Any,
        train: np.ndarray,
        held_out: np.ndarray,
        storage: Storage,
        ranks: Ranks,
        *,
        goes_on: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the networks are given: rows to train on, which are remembered, and rows held out.

        X is read before the training alone: what becomes of it meanwhile changes nothing.
        """
        originals = self._inputs.stored(X, train, storage)
        blocks = originals.split(block_rows(self.input_shape_))
        if goes_on:
            doubt_scale(blocks[0], least=0.1, most=10, what="what is learned from it is")
        keys = np.concatenate(ranks.gather(row_keys(blocks)))
        earlier = self._trained if goes_on else np.empty(0, np.uint64)
        self._trained: np.ndarray = np.union1d(earlier, keys)
        if held_out is train:
            return originals, originals
        held = self._inputs.stored(X, held_out, storage)
        if self.contamination == "auto":
            self._doubt_twins(held, keys)
        return originals, held

    def _split(
        self,
        X: Any,
        normal: np.ndarray,
        random_state: np.random.RandomState,
        ranks: Ranks,
        *,
        goes_on: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows to train on and rows held out, of this process, and those for `k`.

        Where there is nothing to hold rows out for, the same ones serve for all.

        The former in the order in which they lie in a file, the last in a random one.
        """
        train = held_out = normal
        if self.contamination == "auto" or self.early_stopping:
            was_trained_on = np.zeros(len(normal), dtype=bool)
            if goes_on:
                own = self._were_trained_on(X, normal[ranks.own :: ranks.size])
                for rank, part in enumerate(ranks.gather(own)):
                    was_trained_on[rank :: ranks.size] = part
            if was_trained_on.all() and self.contamination == "auto":
                warn(
                    "All rows of X have been trained on before, and new ones will raise more "
                    "alarms than the threshold promises, which these set; call calibrate with "
                    "rows that are new.",
                    CalibrationWarning,
                )
            train, held_out = train_and_held_out(
                normal, self.validation_fraction, random_state, was_trained_on
            )
        if min(len(train), len(held_out)) < ranks.size:
            raise ValueError(
                f"n_samples = {len(normal)} normal rows are too few for {ranks.size} processes, "
                "each of which needs one to train on and one to set the threshold."
            )
        sample = random_state.permutation(held_out)
        own = ranks.share(train)
        if held_out is normal:
            return own, own, sample
        return own, np.sort(held_out)[ranks.own :: ranks.size], sample

    def _were_trained_on(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Mask of the rows that a fit has trained on."""
        return are_among(row_keys(self._inputs.blocks(X, rows)), self._trained)

    def _choose_blurs(
        self, X: Any, sample: np.ndarray, originals: torch.Tensor, memory: Memory
    ) -> None:
        """Set `blurs_`, `k_`, and which copies each predictor learns from."""
        if self._layout is None:
            # Plain rows have nothing to blur.
            self.blurs_: list[Any] = []
            self._groups: list[list[int]] = [[]]
            self.k_: Any = None
            if self.input_shape_[0] >= LIKELY_PIXELS:
                self._doubt_plain_rows(X)
            return
        rows = np.sort(sample[: sample_size(self.input_shape_)])
        images = torch.cat(list(self._inputs.blocks(X, rows)))
        self.blurs_, self._groups, self.k_ = make_blurs(
            self.k, self.blur, self.geometry, originals.numpy(), images.numpy(), memory
        )

    def _judges_by_all_targets(self) -> bool:
        """Whether the contrasts to the copies have a say."""
        return self.criterion == "contrast" or (self.criterion == "auto" and len(self._groups) > 1)

    def _doubt_threshold(self, n_held_out: int) -> None:
        """Warn, before the training, of held-out rows that will be too few for the threshold."""
        by_all = self._judges_by_all_targets()
        n_judgements = sum(2 if by_all and group else 1 for group in self._groups)
        _, for_threshold = rows_apart(np.zeros((n_held_out, n_judgements)))
        fewest = fewest_rows(_FALSE_ALARM_RATE)
        if len(for_threshold) < fewest:
            warn(
                f"Rows held out to set the threshold: {len(for_threshold)}; fewer than {fewest} "
                f"cannot keep false alarms at {_FALSE_ALARM_RATE:.0%}, and it will be their lowest "
                "score. Pass more rows or a larger validation_fraction, or call calibrate.",
                CalibrationWarning,
            )

    def _doubt_twins(self, held: torch.Tensor, keys: np.ndarray) -> None:
        """Warn where many rows that are to set the threshold are among those trained on."""
        n_twins = are_among(row_keys(held.split(block_rows(self.input_shape_))), keys).sum()
        if n_twins > _MANY_TRAINED_ON * len(held):
            warn(
                f"{n_twins} of {len(held)} rows held out to set the threshold are equal to rows "
                "that are trained on. If rows are more than once in X, new normal ones will raise "
                "more alarms than the threshold promises: pass each once, or call calibrate with "
                "rows that are new.",
                CalibrationWarning,
            )

    def _doubt_plain_rows(self, X: np.ndarray) -> None:
        """Warn where plain rows seem to be images that somebody has flattened."""
        if not isinstance(self.k, str) or self.geometry is not None:
            sign = f"k={self.k!r} and geometry={self.geometry!r} have no effect"
        elif look_like_pixels(X):
            sign = "their values and their number are those of a square image"
        else:
            return
        warn(
            f"X has plain rows of {self.input_shape_[0]} features, of which no copies are made, "
            f"and {sign}. If they are images, say so with image_shape.",
        )

    def _prepare(
        self,
        earlier: DistilledPair | None,
        copies: list[torch.Tensor],
        *,
        max_epochs: int,
        generator: torch.Generator,
        available: int | None,
        device: torch.device,
        **options: Any,
    ) -> Training:
        """Draw a predictor, and a target for each of the copies, or go on with those of a pair."""
        # Each has a generator of its own, since they draw from it side by side.
        own = torch.Generator(device="cpu")
        own.manual_seed(int(torch.randint(2**63 - 1, (), generator=generator)))
        targets: Targets | StandardisedTargets
        learning_rate = float(self.learning_rate)
        if earlier is None:
            predictor, targets = build_networks(
                self._architecture,
                self.input_shape_,
                n_targets=len(copies),
                n_members=self.n_estimators_,
                generator=own,
                available=available,
                device=device,
            )
        else:
            # A copy, for a fit that fails must leave what was there.
            earlier = deepcopy(earlier)
            predictor, targets = earlier.predictor, earlier.targets
            # Its batch normalisations are folded into its weights, which bear no larger steps.
            learning_rate /= 10
        return Training(
            predictor,
            targets,
            copies,
            max_epochs=max_epochs,
            batch_size=int(self.batch_size),
            learning_rate=learning_rate,
            generator=own,
            supplied=callable(self._architecture),
            device=device,
            **options,
        )

    def _resolve_n_estimators(self, n_rows: int) -> int:
        if self.n_estimators != "auto":
            return int(self.n_estimators)
        if self._layout is None:
            return 5
        return 2 if self.network == "auto" and n_rows >= _MANY_ROWS else 1

    def _resolve_max_epochs(self, max_epochs: str | int, n_rows: int) -> int:
        if max_epochs != "auto":
            return int(max_epochs)
        if self._layout is None:
            return min(100, math.ceil(1500 / math.ceil(n_rows / int(self.batch_size))))
        return min(50, max(3, math.ceil(_ROWS_SEEN / n_rows)))

    @property
    def _inputs(self) -> Inputs:
        return Inputs(self._layout, self.mean_, self.scale_)

    # -- verdicts ---------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Score each row: minus its novelty, the larger the more normal.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.

        Returns
        -------
        scores : ndarray of shape (n,), float64
            At most 0. Minus the error of each row or, where there are several judgements
            (see the notes of the class), minus the largest of them, each divided by its level.
            As `calibrate` and `contamination` change these levels, such scores compare, and rank
            rows, among those computed since the last `fit`, `partial_fit` or `calibrate` only.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the rows have another shape than in `fit`, or are not real and finite.
        TypeError
            If X is sparse or holds objects that are not numbers.

        Warns
        -----
        UserWarning
            If the values of images spread far less than in `fit`, as after a division by 255.
        """
        now = self._snapshot()
        return in_namespace_of(X, now._scores(now._novelties_of(now._validated(X))))

    def _validated(self, X: Any) -> Any:
        """Rows that are as those of `fit` were, in an array of numpy or an unread one."""
        check_is_fitted(self)
        with own_torch_state():
            X, _ = validate_rows(self, X, reset=False, allow_unread=True)
            return as_numpy(X)

    def _judgements_of(self, X: Any) -> dict[str, np.ndarray]:
        """What each target says of the rows, in the unit of the scores."""
        values = self._novelties_of(self._validated(X), by_target=True)
        groups = self._groups if self._pairs[0].n_judges > 1 else [[] for _ in self._pairs]
        names, units = [], []
        of_pairs = self._units.reshape(len(groups), -1)
        for number, (group, own) in enumerate(zip(groups, of_pairs, strict=True), start=1):
            prefix = f"predictor {number}: " if len(groups) > 1 else ""
            kinds = [f"copy {i + 1}, {type(self.blurs_[i]).__name__}" for i in group]
            names += [f"{prefix}error", *(f"{prefix}contrast to {kind}" for kind in kinds)]
            units += [own[0], *own[1:].repeat(len(group))]
        return dict(zip(names, (values / units).T, strict=True))

    def _novelties_of(self, X: Any, *, by_target: bool = False, doubt: bool = True) -> np.ndarray:
        """How novel rows that are `_validated` are, as `_novelties`."""
        with own_torch_state():
            blocks = self._inputs.blocks(X, np.arange(X.shape[0]))
            first = next(blocks)
            # A few plain rows may well be alike.
            if doubt and self._layout is not None:
                doubt_scale(first[:LOOKED_AT], what="its scores are")
            return self._novelties(chain([first], blocks), by_target=by_target)

    def _novelties(self, blocks: Iterable[torch.Tensor], *, by_target: bool = False) -> np.ndarray:
        """How novel inputs of the networks are: (n, n_judgements), float64.

        By each judgement or, for the contrasts, by each of the targets that has a say.
        """
        pairs = self._pairs

        def ask(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([pair.by_target(x) if by_target else pair(x) for pair in pairs], dim=1)

        device = torch.device(self.device_)
        novelties = [answer(ask, inputs, device, *pairs) for inputs in blocks]
        return torch.cat(novelties).to(torch.float64).numpy()

    def _scores(self, novelties: np.ndarray) -> np.ndarray:
        """A row is as novel as the most surprised judgement finds it."""
        return -(novelties / self._units).max(axis=1)

    def _set_threshold(self, novelties: np.ndarray) -> None:
        """Units of the judgements, and where alarms begin, by the rows for the threshold."""
        if not isinstance(self.contamination, str):
            threshold = partial(training_threshold, contamination=self.contamination)
            self._units = alarm_levels(novelties, threshold)
            self.offset_ = threshold(self._scores(novelties))
            self.calibration_scores_: np.ndarray | None = None
            return
        compared, held_out = rows_apart(novelties)
        self._calibrate(compared, held_out, _FALSE_ALARM_RATE)

    def _calibrate(
        self, compared: np.ndarray, held_out: np.ndarray, false_alarm_rate: float
    ) -> None:
        """Units and threshold by rows that were not trained on, split by `rows_apart`."""
        threshold = partial(held_out_threshold, false_alarm_rate=false_alarm_rate)
        self._units = alarm_levels(compared, threshold)
        scores = self._scores(held_out)
        self.offset_ = threshold(scores)
        self.calibration_scores_ = np.sort(scores)

    def decision_function(self, X: Any) -> np.ndarray:
        """Score of each row minus the threshold.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.

        Returns
        -------
        decision : ndarray of shape (n,), float64
            ``score_samples(X) - offset_``: negative for rows that are called novel.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If `score_samples` does not take X.
        """
        now = self._snapshot()
        return now.score_samples(X) - now.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Label each row as normal or novel.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,), int
            1 for normal, -1 for novel, where `decision_function` is negative.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If `score_samples` does not take X.
        """
        decision = as_numpy(self.decision_function(X))
        return in_namespace_of(X, np.where(decision >= 0, 1, -1))

    @validate_params(
        {"false_alarm_rate": [Interval(Real, 0, 1, closed="neither")]},
        prefer_skip_nested_validation=True,
    )
    def calibrate(self, X: Any, false_alarm_rate: float = 0.05) -> Self:
        """Set the threshold anew by new normal rows, without training again.

        Where there are several judgements (see the notes of the class), a third of the rows
        sets the level of each, for the rate given here, and the others set the threshold. As
        scores are in units of these levels, they cannot be compared with those from before.

        Parameters
        ----------
        X : array-like or tensor
            Normal images or rows that were not trained on, of the shape seen in `fit`.
        false_alarm_rate : float, default=0.05
            Share of further normal rows that are expected to be called novel, in (0, 1).

        Returns
        -------
        self : object
            The same detector, with `offset_` and `calibration_scores_` from these rows.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the rate is out of range, or if the rows that set the threshold are fewer than
            ``1 / rate - 1``, too few to keep it.
        ValueError, TypeError
            If `score_samples` does not take X.
        RuntimeError
            If another thread fits the detector meanwhile.

        Warns
        -----
        CalibrationWarning
            If more than a quarter of the rows were trained on, which score too well to set a
            threshold. And if most of them are novel by the threshold so far. That is mostly so
            because they were prepared in another way than those of `fit`, divided by 255 for
            instance; a threshold that calls them normal finds nothing any more.
        UserWarning
            If the values of images spread far less than in `fit`.

        See Also
        --------
        p_values : Verdicts without a threshold.
        partial_fit : Learn from new rows, where these are normal and of another kind.

        Examples
        --------
        >>> import numpy as np
        >>> from skrnd import SVDRNDDetector
        >>> rng = np.random.default_rng(0)
        >>> detector = SVDRNDDetector(random_state=0).fit(rng.normal(size=(200, 3)))
        >>> detector = detector.calibrate(rng.normal(size=(2000, 3)), false_alarm_rate=0.01)
        >>> float(np.mean(detector.predict(rng.normal(size=(2000, 3))) == -1)) < 0.02
        True
        """
        # What a fit in another thread replaces.
        state = self.__dict__
        now, false_alarm_rate = self._snapshot(), float(false_alarm_rate)
        X = now._validated(X)
        novelties = now._novelties_of(X)
        compared, held_out = rows_apart(novelties)
        n_rows, fewest = len(novelties), fewest_rows(false_alarm_rate)
        if len(held_out) < fewest:
            # A third of them goes into the comparison of judgements.
            fewest = fewest if novelties.shape[1] == 1 else math.ceil(1.5 * fewest)
            raise ValueError(
                f"false_alarm_rate={false_alarm_rate} requires at least {fewest} rows; "
                f"got {n_rows}."
            )
        if not np.isfinite(novelties).all():
            raise ValueError("X holds values so large that the networks' errors are not finite.")
        n_trained = np.count_nonzero(now._were_trained_on(X, np.arange(n_rows)))
        if n_trained > _MANY_TRAINED_ON * n_rows:
            warn(
                f"{n_trained} of {n_rows} rows were trained on, and score too well: new normal "
                f"rows will raise more alarms than false_alarm_rate={false_alarm_rate:g}. Pass "
                "rows that are new.",
                CalibrationWarning,
            )
        n_novel = np.count_nonzero(now._scores(novelties) < now.offset_)
        if n_novel > n_rows / 2:
            warn(
                f"{n_novel} of {n_rows} rows, which are to be normal, were novel so far. If X "
                "was prepared in another way than in fit (other values, size or colours), the new "
                "threshold is of no use.",
                CalibrationWarning,
            )
        now._calibrate(compared, held_out, false_alarm_rate)
        # At once: other threads may be scoring.
        changed = ("_units", "offset_", "calibration_scores_")
        state.update({name: vars(now)[name] for name in changed})
        if self.__dict__ is not state:
            raise RuntimeError(
                "The detector was fitted by another thread meanwhile; calibrate it again."
            )
        return self

    def p_values(self, X: Any) -> np.ndarray:
        """Conformal p-values: how rarely a normal row is as novel as each of these.

        The conformal p-value of a row is the share of rows that score no higher than it does,
        among the held-out normal rows and itself [1]_. For a new normal row it is at most p
        with probability p or less, whatever the images and however good the detector, if the
        held-out rows had no part in the training. That is so on average over the rows held out:
        for one detector the probability differs the more, the fewer they are. To be sure that
        they had no part, call `calibrate` with new rows. `early_stopping` and ``k="auto"`` do
        look at the rows that `fit` holds out, but that has not been seen to matter.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.

        Returns
        -------
        p : ndarray of shape (n,), float64
            In [1 / (m + 1), 1], with m the length of `calibration_scores_`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If no row was held out because `contamination` is a number and `calibrate` has not
            been called.
        ValueError, TypeError
            If `score_samples` does not take X.

        See Also
        --------
        calibrate : Set the rows that p-values are counted among.

        References
        ----------
        .. [1] Bates et al., "Testing for outliers with conformal p-values", Annals of
           Statistics 51(1), 2023.

        Examples
        --------
        Of the rows that are called novel here, at most 10 % are expected to be normal:

        >>> import numpy as np
        >>> from scipy.stats import false_discovery_control
        >>> from skrnd import SVDRNDDetector
        >>> rng = np.random.default_rng(0)
        >>> detector = SVDRNDDetector(random_state=0).fit(rng.normal(size=(2000, 3)))
        >>> X = np.concatenate([rng.normal(size=(90, 3)), 9 + rng.normal(size=(10, 3))])
        >>> is_novel = false_discovery_control(detector.p_values(X)) <= 0.1
        >>> bool(is_novel[90:].all())
        True
        """
        now = self._snapshot()
        check_is_fitted(now)
        if now.calibration_scores_ is None:
            raise ValueError(
                "The fit held no row out, since contamination was a number, and p-values need "
                "some; call calibrate with normal rows first, or fit with contamination='auto'."
            )
        scores = as_numpy(now.score_samples(X))
        return in_namespace_of(X, conformal_p_values(scores, now.calibration_scores_))

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit to X, except for the rows that `y` labels -1, and label all of X.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows, as in `fit`.
        y : array-like of shape (n,), default=None
            Rows labelled -1 are left out of the training, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,), int
            1 for normal, -1 for novel.

        Raises
        ------
        ValueError, TypeError, OSError
            As `fit` does.
        """
        # The mixin's own would drop y and train on the labelled outliers.
        return self.fit(X, y).predict(X)

    # -- state ------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """State with the networks as plain numpy arrays.

        Arrays open on a machine without the device that trained them, and with
        another torch.
        """
        from . import __version__

        state = super().__getstate__().copy()
        state["_skrnd_version"] = __version__
        if isinstance(self.checkpoint, os.PathLike):
            # A Path of Windows cannot be made on another system, nor the other way round.
            state["checkpoint"] = os.fspath(self.checkpoint)
        if "_pairs" in state:
            state["_pairs"] = [
                {name: value.cpu().numpy() for name, value in pair.state_dict().items()}
                for pair in state["_pairs"]
            ]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the networks, on the device that is there now."""
        from . import __version__

        # An array that is mapped from the file keeps it from being written anew.
        state = {
            name: np.array(value) if isinstance(value, np.memmap) else value
            for name, value in state.items()
        }
        written = state.pop("_skrnd_version", __version__)
        if written != __version__:
            warn(
                f"The detector was pickled by skrnd {written}, and this is {__version__}. Pickles "
                "are for the version that wrote them: see whether it scores as it did, or move "
                "detectors by skrnd.persistence.",
            )
        super().__setstate__(state)
        if "_pairs" in state:
            try:
                device = resolve_device(self.device, plain=len(self.input_shape_) == 1)
            except ValueError:
                device = torch.device("cpu")
            self.device_ = str(device)
            with own_torch_state():
                self._pairs = [
                    load_pair(
                        self._architecture,
                        self.input_shape_,
                        n_members=self.n_estimators_,
                        all_judge=len(self._units) > len(state["_pairs"]),
                        weights=weights,
                        device=device,
                    )
                    for weights in state["_pairs"]
                ]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def fitted_detector(detector: Any, function: str) -> SVDRNDDetector:
    """The detector as it is now, for a function of this package; refuses what is none."""
    if not isinstance(detector, SVDRNDDetector):
        raise TypeError(
            f"{function} takes an SVDRNDDetector; got {type(detector).__name__}. {WHAT_TO_PASS}"
        )
    check_is_fitted(detector)
    return detector._snapshot()
