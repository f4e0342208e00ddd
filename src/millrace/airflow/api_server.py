"""Airflow's API server as `millrace up` starts it, ``python -m millrace.airflow.api_server api-server``.

Airflow notes each request that changes something in its log of actions. It does so in the event loop, and there waits
for sqlite's write lock. Where a task's request holds that lock, its commit is behind the event loop's wait: nothing is
answered for 30 s, until the wait is given up, and tasks that couldn't tell that they live are taken for dead. Here a
thread does the noting, so that the event loop goes on and the lock is released.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any


def in_a_thread(action_logging: Callable[..., Any]) -> Callable[..., Any]:
    """Airflow's `action_logging`, whose dependency writes in a thread; its signature is FastAPI's to read, so kept."""
    from anyio import to_thread

    @functools.wraps(action_logging)
    def build(event: str | None = None) -> Any:
        log_action = action_logging(event)

        @functools.wraps(log_action)
        async def log_in_a_thread(request: Any, **others: Any) -> None:
            await request.body()  # is kept: the rest awaits nothing that belongs to this event loop
            await to_thread.run_sync(lambda: asyncio.run(log_action(request=request, **others)))

        return log_in_a_thread

    return build


def main() -> None:
    """Run Airflow's command line, with the log of actions written beside the event loop."""
    from airflow.__main__ import main as airflow
    from airflow.api_fastapi.logging import decorators

    decorators.action_logging = in_a_thread(decorators.action_logging)
    airflow()


if __name__ == "__main__":
    main()
