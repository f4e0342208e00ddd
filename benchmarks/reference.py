"""Are the scores those of scikit-learn? The champion as it was trained scores some rows again, by scikit-learn alone.

MILLRACE_HOME=… MILLRACE_PIPELINES=… python -m benchmarks.reference learn 200000
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa

from millrace.model.features import to_frame
from millrace.model.model_file import read_model
from millrace.model.resample import correct
from millrace.stages import open_run
from millrace.stages.learn import registry


def main(name: str, rows: int) -> None:
    """Print the largest difference of a probability, of the first rows of the table."""
    run = open_run(name, "")
    store = registry(run)
    champion = store.champion(name)
    assert champion is not None, "the scores were made by one"
    model = read_model(store.version(name, champion).folder)
    assert model.info.format == "skops", "the model as it was trained is scikit-learn's own"
    scored = run.table("scores").read(columns=["row_id", "score"])
    ids, scores = scored["row_id"].to_numpy(), scored["score"].to_numpy()
    order = np.argsort(ids)
    batches, found = [], 0
    for batch in run.table("sharded").batches():
        batches.append(batch)
        found += batch.num_rows
        if found >= rows:
            break
    table = pa.Table.from_batches(batches).slice(0, rows)
    expected = correct(model.estimator.predict_proba(to_frame(table, model.plan))[:, 1], model.info.odds)
    wanted = table["row_id"].to_numpy()
    places = order[np.searchsorted(ids, wanted, sorter=order)]
    assert (ids[places] == wanted).all(), "each row has its score"
    difference = np.abs(expected - scores[places]).max()
    print(json.dumps({"rows": scored.num_rows, "largest_difference": float(difference)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
