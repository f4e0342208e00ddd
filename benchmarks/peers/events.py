"""What every peer knows of the events: their columns, and what is asked of them."""

from __future__ import annotations

KINDS = {
    "event_id": "int64",
    "event_time": "timestamp",
    "customer_id": "int64",
    "device": "string",
    "channel": "string",
    "country": "string",
    "city": "string",
    "page": "string",
    "campaign": "int32",
    "amount": "float64",
    "price": "float64",
    "duration": "float64",
    "age": "int16",
    "signal": "float64",
    "clicked": "int8",
}
TEXTS = [name for name, kind in KINDS.items() if kind == "string"]
NUMBERS = [name for name, kind in KINDS.items() if kind not in ("string", "timestamp")]
ORDERED = [name for name, kind in KINDS.items() if kind != "string"]
"""Columns with quantiles."""
TOPS = ["channel", "country", "city", "page", "campaign", "age", "clicked"]
"""Columns of whose values the ten most frequent are wanted."""
FRACTIONS = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]

# How the events are cleaned and laid out: see `pipelines.py`, which says the same to Millrace.
SPELLINGS = {"UK": "GB", "U.S.": "US"}
AMOUNT = (0, 500)  # outside: null
AGE = (0, 120)  # outside: quarantine
DURATION = 0.0  # where it is missing
SHARDS = 16
ORDER = ["customer_id", "event_time", "event_id"]
