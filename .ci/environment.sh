# Sourced by the scripts beside it: a fresh virtual environment, gone when they end.
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv"
export PATH="$venv/bin:$PATH" MPLBACKEND=agg
unset PYTHONPATH

# The line that the README promises to pass the tests, read from the README.
test_line=$(grep -E '^    python -m pip install .*&& python -m pytest .*$' README.md)
