"""What a process of Millrace's own does without, so that it starts quickly."""

from __future__ import annotations

import os


def quick_start() -> None:
    """To be called before numpy is imported and a model of Pydantic's is made. What the environment tells stays.

    BLAS starts no threads when it is loaded, which takes 0.2 s of the processors: no sum of Millrace uses them, because
    its last digits depend on how many there are. Pydantic looks for no plugins, for which it reads the metadata of
    every package that is installed: 0.05 s.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
