"""Pure kernels on Arrow batches: no input or output, one batch in, one batch or state out."""
