"""What all displays have in common."""

from __future__ import annotations

from typing import Any


class Display:
    """What is drawn in one Axes."""

    ax_: Any
    figure_: Any

    def _draw_in(self, ax: Any, **options: Any) -> None:
        """Take the Axes of the caller, or new ones."""
        plt = pyplot(type(self))
        if ax is None:
            _, ax = plt.subplots(layout="constrained", **options)
        self.ax_ = ax
        self.figure_ = ax.figure


def line_style(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a line by their whole names: those of matplotlib have short ones too."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    style: dict[str, Any] = normalize_kwargs(kwargs, Line2D)
    return style


def pyplot(display: type) -> Any:
    """matplotlib.pyplot, imported only where something is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{display.__name__} needs matplotlib: pip install "skrnd[plot]"'
        ) from error
    return plt
