"""Keep pytest, which runs the examples of these pages, away from what it cannot run."""

from importlib.util import find_spec

# What Sphinx reads, and what it builds.
collect_ignore = ["conf.py", "_build", "auto_examples", "generated"]
# scikit-learn has callbacks from 1.9 on.
if find_spec("sklearn.callback") is None:
    collect_ignore.append("guide/training.md")
