"""``python -m metabench_py``."""

from metabench_py.cli.app import main

main()
