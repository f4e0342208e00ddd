"""Real servers for tests and trials on this machine: MinIO, Hadoop (HDFS and YARN) and a stand-in for EMR.

`python -m services start`, `stop`, `status` and `env` work on the folder `MILLRACE_SERVICES` (default ``.services``
beside this package). Everything listens on loopback alone.
"""
