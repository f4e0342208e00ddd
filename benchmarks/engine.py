"""The engine alone: a script of `mrjobs/` with all that it imports loaded before the clock starts.

python -m benchmarks.engine feature_stats -r local --pipeline events FILES
"""

from __future__ import annotations

import importlib
import sys
import time

from millrace import script
from millrace.mapreduce import local  # noqa: F401 - loaded before the clock starts
from millrace.mapreduce.taskserver import PRELOAD
from millrace.stages import by_hand  # noqa: F401 - so is this


def main() -> None:
    """Run the script; its seconds are the last line of the standard error."""
    name = sys.argv.pop(1)
    names = {"feature_stats": "FeatureStats", "score": "Score", "clean": "Clean"}
    job = getattr(importlib.import_module(f"mrjobs.{name}"), names[name])
    for each in (*PRELOAD, *job.preload):
        if each not in ("pandas", "polars"):  # they start threads, and the task server is a fork
            importlib.import_module(each)
    started = time.perf_counter()
    script.run_script(job)
    print(f"engine_seconds {time.perf_counter() - started}", file=sys.stderr)


if __name__ == "__main__":
    main()
