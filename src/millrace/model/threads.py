"""Threads of the numeric libraries: how many a fit or a prediction may start.

scikit-learn's histogram gradient boosting starts one OpenMP thread per core, and they wait for each other by spinning:
where other work holds a core, a fit of 2 s on 32,000 rows took 340 s. The fitted trees don't depend on the number of
threads.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from millrace.cores import available_cores


def free_cores() -> int:
    """Cores that nothing else used in the last minute: at least 1, and one less than there are."""
    cores = available_cores()
    return max(1, min(cores - 1, round(cores - os.getloadavg()[0])))


def limit_threads(count: int) -> AbstractContextManager[Any]:
    """Inside, OpenMP starts at most `count` threads, and BLAS one, because its sums depend on how many."""
    return _controller().limit(limits={"openmp": count, "blas": 1})


@cache
def _controller() -> Any:
    """Looks through the loaded libraries, which takes 10 ms; scikit-learn's are loaded by its import."""
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
