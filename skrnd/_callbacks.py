"""scikit-learn's callbacks, which it has from version 1.9 on; before, nothing is called back."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackContext, CallbackSupportMixin
except ImportError:

    class CallbackContext:  # type: ignore[no-redef]
        """A fit that nobody looks at."""

        max_subtasks: int | None = None

        def subcontext(self, **options: Any) -> CallbackContext:
            return self

        def call_on_fit_task_begin(self, **options: Any) -> None:
            pass

        def call_on_fit_task_end(self, **options: Any) -> bool:
            return False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks can be set."""

        def _init_callback_context(self, **options: Any) -> CallbackContext:
            return CallbackContext()


__all__ = ["CallbackContext", "CallbackSupportMixin"]
