"""Decorators of scikit-learn, which has no types: here they keep those of what they decorate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    def available_if(check: Callable[[Any], bool]) -> Callable[[_Function], _Function]: ...
    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Function], _Function]: ...
    def validate_params(
        parameter_constraints: dict[str, Any], *, prefer_skip_nested_validation: bool
    ) -> Callable[[_Function], _Function]: ...
else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import validate_params
    from sklearn.utils.metaestimators import available_if

__all__ = ["available_if", "fit_context", "validate_params"]
