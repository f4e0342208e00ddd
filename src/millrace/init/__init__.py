"""`millrace init`: raw files in, a commented pipeline file out."""

from millrace.init.write import write_pipeline_file

__all__ = ["write_pipeline_file"]
