"""What the storage answers when it can't do a thing: in words that say what to do, and whether to ask again."""

from __future__ import annotations

import errno
import random
import re
import time

from millrace.errors import ServiceError, WorkError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# delta-rs gives the operating system's answer as text only.
FULL_WORDS = ("No space left on device", "File too large", "quota exceeded")
# What the clients of S3 and HDFS say, as text only, where a store is out of reach, too busy, or stops in the middle.
OUTAGE = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|HTTP status 5\d\d"
    r"|non-2xx status code: 5\d\d|status code ↳ 5\d\d|curlCode|error sending request|body from connection"
    r"|[Cc]onnection (reset|refused|closed)|timed out|communicating with HDFS"
)
FORBIDDEN_WORDS = ("Permission denied", "Operation not permitted", "Read-only file system", "AccessDenied")

TRIES = 4
PAUSE = 0.2  # seconds after the first failure; twice as long after each further one


class Patience:
    """How often a question to one store is asked again.

    The clients themselves ask again after most failures; not where an answer was cut, and not for a conditional put.
    A folder of this machine isn't asked twice.
    """

    def __init__(self, uri: str) -> None:
        self._left = TRIES if "://" in uri and not uri.startswith("file://") else 1

    def lasts(self, error: BaseException) -> bool:
        """Wait, and tell whether to ask again after this failure: not where the store has refused in words."""
        self._left -= 1
        if self._left < 1 or is_refusal(error) or any(words in plain(error) for words in FULL_WORDS + FORBIDDEN_WORDS):
            return False
        time.sleep(PAUSE * 2 ** (TRIES - 1 - self._left) * random.uniform(0.5, 1))
        return True


def plain(error: BaseException) -> str:
    """The text of an error on one line; delta-rs paints its errors."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())


def is_refusal(error: BaseException) -> bool:
    """Whether the operating system had no room, or no permission to give."""
    return isinstance(error, OSError) and error.errno in FULL | FORBIDDEN


def outage(where: str, error: BaseException) -> ServiceError | None:
    """The error for a store that didn't answer, or only half; None where it answered.

    What was asked for may be in order: the same again can succeed.
    """
    text = plain(error)
    if not OUTAGE.search(text):
        return None
    return ServiceError("the store didn't answer", found=f"{where}: {text}", hint="run again when it does")


def write_refused(where: str, error: Exception) -> WorkError:
    """The WorkError for a failed write at `where`: a full disk, no permission, or what the storage said."""
    text = plain(error)
    number = getattr(error, "errno", None)
    if number in FULL or any(words in text for words in FULL_WORDS):
        return WorkError("no room to write", found=f"a full disk or quota at {where}", hint="make room and run again")
    if number in FORBIDDEN or any(words in text for words in FORBIDDEN_WORDS):
        return WorkError("no permission to write", found=where, hint="give this user the right to write there")
    if away := outage(where, error):
        return away
    return WorkError("can't write", found=f"{where}: {text}")
