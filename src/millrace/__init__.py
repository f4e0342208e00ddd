"""Millrace: one pipeline file becomes a nightly run over massive data."""

__version__ = "0.1.0"
