"""The small pipeline of `tests.orders` for every test here."""

from tests.orders import orders, run

__all__ = ["orders", "run"]
