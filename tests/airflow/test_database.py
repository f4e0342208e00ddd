"""Airflow's sqlite database under two writers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from millrace.airflow.database import create_metadata_engine


def write_beside(engine: Engine, file: Path) -> bool:
    """Read, let another process write, then write, all inside a savepoint; whether the other one had to wait."""
    other = sqlite3.connect(file, timeout=0)
    with engine.connect() as connection, connection.begin_nested():
        connection.execute(text("select * from runs")).all()
        try:
            other.execute("insert into runs values (1)")
            other.commit()
            waited = False
        except sqlite3.OperationalError:
            waited = True
        connection.execute(text("insert into runs values (2)"))
    other.close()
    return waited


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table runs (number int)")
    return path


def test_a_savepoint_that_reads_first_keeps_its_turn_to_write(file: Path) -> None:
    engine = create_metadata_engine(f"sqlite:///{file}", engine_args={}, connect_args={})
    assert write_beside(engine, file) is True
    engine.dispose()


def test_sqlite_s_own_way_fails_at_once(file: Path) -> None:
    """Why there is an engine of our own; may go when this fails."""
    engine = create_engine(f"sqlite:///{file}")
    with pytest.raises(OperationalError, match="database is locked"):
        write_beside(engine, file)
    engine.dispose()
