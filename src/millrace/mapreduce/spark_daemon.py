"""What Spark starts on a node to run Python: PySpark's own daemon, once the worker environment is known to fit.

Spark tells the driver what its daemon wrote before it ended.
"""

from __future__ import annotations

import runpy

from millrace.mapreduce.task import check_interpreter

if __name__ == "__main__":
    check_interpreter()
    runpy.run_module("pyspark.daemon", run_name="__main__", alter_sys=True)
