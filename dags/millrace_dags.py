"""One training and one scoring DAG per pipeline file in `MILLRACE_PIPELINES`.

A copy of this file that is named after a pipeline (`clicks.py`) holds that pipeline's DAGs alone.
"""

from airflow.sdk import DAG  # noqa: F401 - Airflow reads only files that name it

from millrace.airflow.dag_builder import dags_for

for dag in dags_for(__file__):
    globals()[dag.dag_id] = dag
