"""Airflow: DAGs from pipeline files, the embedded servers of `millrace up`, and a client of their REST API."""
