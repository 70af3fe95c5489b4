"""A full disk, by whatever name a library reports it."""

from __future__ import annotations

import errno

FULL = 74  # exit status of a stage run that found no room; said without a file, for there is no room for one
NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEXTS = ("No space left on device", "Disk quota exceeded", "File too large", "database or disk is full")
HOW = "free some, the same command continues"


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is a full disk, a spent quota or a limit on the size of files."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = error.errno if isinstance(error, OSError) else None
        if number in NUMBERS or any(text in str(error) for text in TEXTS):  # safetensors and SQLite have texts alone
            return True
        error = error.__cause__ or error.__context__
    return False
