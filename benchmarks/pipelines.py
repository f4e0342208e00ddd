"""The pipeline files of the measured work, as a user of Millrace would write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import DAY
from benchmarks.peers.events import AGE, AMOUNT, DURATION, KINDS, SHARDS, SPELLINGS

ROLES = {"event_time": "time", "customer_id": "key", "event_id": "key", "clicked": "label"}

CHECK = f"""\
check:
  - {{expect: column_values_to_not_be_null, column: customer_id, severity: quarantine}}
  - {{expect: table_row_count_to_be_between, min_value: 1, severity: fail}}
  - {{expect: column_values_to_not_be_null, column: event_id, severity: fail}}
  - {{expect: column_values_to_not_be_null, column: event_time, severity: fail}}
  - {{expect: column_values_to_not_be_null, column: channel, severity: fail}}
  - {{expect: column_values_to_not_be_null, column: country, mostly: 0.9, severity: warn}}
  - {{expect: column_values_to_not_be_null, column: city, mostly: 0.9, severity: warn}}
  - {{expect: column_values_to_not_be_null, column: amount, mostly: 0.8, severity: warn}}
  - {{expect: column_values_to_not_be_null, column: duration, mostly: 0.6, severity: warn}}
  - {{expect: column_values_to_not_be_null, column: price, severity: fail}}
  - {{expect: column_values_to_be_between, column: event_id, min_value: 1, severity: fail}}
  - {{expect: column_values_to_be_between, column: customer_id, min_value: 1, max_value: 9999999, severity: fail}}
  - {{expect: column_values_to_be_between, column: amount, min_value: 0, mostly: 0.9, severity: warn}}
  - {{expect: column_values_to_be_between, column: price, min_value: 0, max_value: 100000, severity: warn}}
  - {{expect: column_values_to_be_between, column: duration, min_value: 0, severity: warn}}
  - {{expect: column_values_to_be_between, column: age, min_value: 0, max_value: 120, mostly: 0.99, severity: warn}}
  - {{expect: column_values_to_be_between, column: campaign, min_value: 7000, max_value: 8000, severity: warn}}
  - {{expect: column_values_to_be_in_set, column: clicked, value_set: [0, 1], severity: fail}}
  - {{expect: column_values_to_be_in_set, column: channel, value_set: [web, app, mail, store, phone], mostly: 0.9,
     severity: warn}}
  - {{expect: column_value_lengths_to_be_between, column: country, min_value: 2, max_value: 4, severity: warn}}
  - {{expect: column_value_lengths_to_equal, column: device, value: 10, severity: warn}}
  - {{expect: column_values_to_match_regex, column: device, regex: "^d-[0-9a-f]{{8}}$", severity: warn}}
  - {{expect: column_values_to_match_regex, column: page, regex: "^/item/[0-9]+$", severity: warn}}
  - {{expect: column_mean_to_be_between, column: age, min_value: 20, max_value: 60, severity: warn}}
  - {{expect: column_mean_to_be_between, column: signal, min_value: -0.1, max_value: 0.1, severity: warn}}
  - {{expect: column_stdev_to_be_between, column: signal, min_value: 0.9, max_value: 1.1, severity: warn}}
  - {{expect: column_min_to_be_between, column: price, min_value: 0, severity: warn}}
  - {{expect: column_max_to_be_between, column: event_time, min_value: "{DAY}", severity: warn}}
  - {{expect: column_unique_value_count_to_be_between, column: channel, min_value: 5, max_value: 20, severity: warn}}
  - {{expect: column_unique_value_count_to_be_between, column: country, min_value: 1, max_value: 100, severity: warn}}
"""

CLEAN = f"""\
clean:
  channel: {{case: lower}}
  country: {{map: {json.dumps(SPELLINGS)}}}
  amount: {{range: [{AMOUNT[0]}, {AMOUNT[1]}], on_violation: "null"}}
  age: {{range: [{AGE[0]}, {AGE[1]}], on_violation: quarantine}}
  duration: {{missing: {{fill: constant, value: {DURATION}}}}}
shard: {{by: customer_id, method: hash, shards: {SHARDS}}}
"""


def stats_pipeline(name: str, files: Sequence[str], kind: str, *, label: bool = False) -> str:
    """A pipeline whose columns are measured; with `label`, for each class of the label too."""
    return _source(name, files, kind) + _columns(label=label) + "clean:\n  channel: {trim: false}\n"


def night_pipeline(name: str, files: Sequence[str], more: str = "") -> str:
    """A pipeline that checks, cleans, shards and learns."""
    return _source(name, files, "csv") + _columns(label=True) + CHECK + CLEAN + more


def write_pipeline(folder: Path, name: str, text: str) -> Path:
    """Write a pipeline file where Millrace looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def _source(name: str, files: Sequence[str], kind: str) -> str:
    uris = json.dumps(list(files))
    source = f'uri: {uris}, format: {kind}, time: event_time, interval: daily, file_date: "%Y-%m-%d"'
    return f"name: {name}\nsource: {{{source}}}\nschedule: null\n"


def _columns(*, label: bool) -> str:
    lines = ["columns:"]
    for name, kind in KINDS.items():
        role = ROLES.get(name, "categorical" if kind == "string" or name == "campaign" else "numeric")
        role = "numeric" if role == "label" and not label else role
        lines.append(f"  {name}: {{type: {kind}, role: {role}}}")
    return "\n".join(lines) + "\n"
