#!/usr/bin/env python3
"""Compares search algorithms in simulated time; experiments/search-benchmark is the program and has the tables.

scripts/bench_search.py --tasks noisy wide conditional discrete misleading
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "search-benchmark"))

from searchbench.main import main

if __name__ == "__main__":
    main()
