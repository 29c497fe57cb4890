"""Run the benchmarks: the package around this file, wherever this is called from (`python bench/run.py --help`)."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module("bench", run_name="__main__", alter_sys=True)
