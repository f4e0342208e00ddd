"""Bytes at rest: input files, Parquet parts, Delta tables and the ledger of their rows."""
