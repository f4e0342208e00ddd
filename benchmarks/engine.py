"""The engine alone: a script of `mrjobs/` with all that it imports loaded before the clock starts.

python -m benchmarks.engine feature_stats -r local --pipeline events FILES
"""

from __future__ import annotations

import importlib
import sys
import time

from millrace import script
from millrace.mapreduce import local  # noqa: F401 - loaded before the clock starts
from millrace.stages import by_hand  # noqa: F401 - so is this


def main() -> None:
    """Run the script; its seconds are the last line of the standard error."""
    name = sys.argv.pop(1)
    job = {"feature_stats": "FeatureStats", "score": "Score", "clean": "Clean"}[name]
    module = importlib.import_module(f"mrjobs.{name}")
    started = time.perf_counter()
    script.run_script(getattr(module, job))
    print(f"engine_seconds {time.perf_counter() - started}", file=sys.stderr)


if __name__ == "__main__":
    main()
