"""The benchmarks: `make bench`, or `python bench/run.py [group ...] [--quick]`. They write bench/RESULTS.md."""
