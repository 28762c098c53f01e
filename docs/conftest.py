"""Keep pytest, which runs the examples of these pages, away from what Sphinx builds."""

collect_ignore = ["conf.py", "_build", "auto_examples", "generated"]
