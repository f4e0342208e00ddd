"""What the storage answers when it can't write, in words that say what to do."""

from __future__ import annotations

import errno
import re

from millrace.errors import WorkError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# delta-rs gives the operating system's answer as text only.
FULL_WORDS = ("No space left on device", "File too large", "quota exceeded")
FORBIDDEN_WORDS = ("Permission denied", "Operation not permitted", "Read-only file system", "AccessDenied")


def plain(error: Exception) -> str:
    """The text of an error on one line; delta-rs paints its errors."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())


def is_refusal(error: BaseException) -> bool:
    """Whether the operating system had no room, or no permission to give."""
    return isinstance(error, OSError) and error.errno in FULL | FORBIDDEN


def write_refused(where: str, error: Exception) -> WorkError:
    """The WorkError for a failed write at `where`: a full disk, no permission, or what the storage said."""
    text = plain(error)
    number = getattr(error, "errno", None)
    if number in FULL or any(words in text for words in FULL_WORDS):
        return WorkError("no room to write", found=f"a full disk or quota at {where}", hint="make room and run again")
    if number in FORBIDDEN or any(words in text for words in FORBIDDEN_WORDS):
        return WorkError("no permission to write", found=where, hint="give this user the right to write there")
    return WorkError("can't write", found=f"{where}: {text}")
