"""Airflow's own sqlite database under several writers: the scheduler, the API server and the DAG processor.

Taken up through the `airflow_local_settings` that `millrace up` writes; Airflow calls `create_metadata_engine` in place
of its own.
"""

from __future__ import annotations

from typing import Any

WAIT = 30_000  # ms that a writer waits for another


def create_metadata_engine(sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]) -> Any:
    """Airflow's engine, with what sqlite needs where several processes write.

    A savepoint outside of a transaction reads first and writes then: where another process wrote in between, sqlite
    refuses at once ("database is locked"), however long it was told to wait. A backfill of 30 nights is 30 savepoints
    beside a busy scheduler. Such a savepoint takes the write lock first, and so waits for its turn.

    Commits don't wait for the disk: with a write-ahead log a power cut then loses the last of them, but ruins nothing.
    """
    from sqlalchemy import create_engine, event

    engine = create_engine(sql_alchemy_conn, connect_args=connect_args, **engine_args, future=True)
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={WAIT}")
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "savepoint")
    def take_write_lock(connection: Any, _: str) -> None:
        if not connection.connection.dbapi_connection.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
