"""Every error that Millrace raises on purpose.

    MillraceError
    ├── RequestError                the request was wrong: exit status 2
    │   ├── PipelineFileError       a pipeline file has mistakes, all listed at once
    │   ├── ProfileError            a profile or one of its settings is unknown or incomplete
    │   └── InputError              an input file or folder can't be used at all
    └── WorkError                   the work failed: exit status 1
        ├── CheckFailed             an expectation with severity `fail` was not met
        ├── GateClosed              a stage refused to go on (too few rows, one class, no champion…)
        ├── LedgerError             rows in and rows out don't balance; nothing was committed
        ├── CommitConflict          another writer committed first and the commit can't be repeated
        ├── CorruptData             stored bytes don't match their checksum, or can't be decoded
        ├── SplitFailed             a map or reduce task failed: names file, range and row
        ├── UncertainCut            a file may have been cut inside a record: cut it again, by reading it
        ├── UnsafeModel             a model file holds types outside the allow-list
        └── ServiceError            a server (Airflow, store, registry) didn't start or answer

Each message says what was expected, what was found and what to do:

>>> str(RequestError("unknown stage", expected="one of check, clean", found="'claen'", hint="did you mean 'clean'?"))
"unknown stage: expected one of check, clean; found 'claen'; did you mean 'clean'?"
"""

from __future__ import annotations

import re

CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+@")


def without_credentials(text: str) -> str:
    """The text, with user and password taken out of the addresses in it.

    >>> without_credentials("no bucket at s3://AKIA12:s3cret@clicks/2026")
    'no bucket at s3://***@clicks/2026'
    """
    return CREDENTIALS.sub("***@", text)


class MillraceError(Exception):
    """Base of all errors that Millrace raises on purpose.

    `message` says what is wrong; `expected`, `found` and `hint` are added to the text where given.
    """

    exit_status = 1

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = without_credentials(message)
        self.expected = None if expected is None else without_credentials(expected)
        self.found = None if found is None else without_credentials(found)
        self.hint = None if hint is None else without_credentials(hint)
        parts = []
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.hint is not None:
            parts.append(self.hint)
        super().__init__(f"{self.message}: {'; '.join(parts)}" if parts else self.message)


class RequestError(MillraceError):
    """The request was wrong: nothing was done."""

    exit_status = 2


class PipelineFileError(RequestError):
    """A pipeline file has mistakes, all listed at once."""


class ProfileError(RequestError):
    """A profile or one of its settings is unknown or incomplete."""


class InputError(RequestError):
    """An input file or folder can't be used at all."""


class WorkError(MillraceError):
    """The work was started and failed."""


class CheckFailed(WorkError):
    """An expectation with severity `fail` was not met."""


class GateClosed(WorkError):
    """A stage refused to go on."""


class LedgerError(WorkError):
    """Rows in and rows out don't balance; nothing was committed."""


class CommitConflict(WorkError):
    """Another writer committed first and the commit can't be repeated."""


class CorruptData(WorkError):
    """Stored bytes don't match their checksum, or can't be decoded."""


class SplitFailed(WorkError):
    """A map or reduce task failed."""


class UncertainCut(WorkError):
    """A file may have been cut inside a record."""


class UnsafeModel(WorkError):
    """A model file holds types outside the allow-list."""


class ServiceError(WorkError):
    """A server didn't start or answer."""
