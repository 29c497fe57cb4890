"""Run the benchmarks: the package around this file, wherever this is called from (`python bench/run.py --help`)."""

import runpy
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(_ROOT), str(_ROOT / "tests")]  # the container engine of the tests is that of the benchmarks
runpy.run_module("bench", run_name="__main__", alter_sys=True)
