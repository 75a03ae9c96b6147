"""What a key may look like, for every variant alike."""

import re

#: characters of one part between slashes; what every file system and object store can name
MAX_PART = 255
#: characters of a whole key
MAX_KEY = 1024

_CHARACTERS = re.compile(r"[A-Za-z0-9._/-]*\Z")
_KEY = re.compile(rf"(?!.*(?:^|/)\.\.?(?:/|\Z))[A-Za-z0-9._-]{{1,{MAX_PART}}}(?:/[A-Za-z0-9._-]{{1,{MAX_PART}}})*\Z")


def is_key(text: str) -> bool:
    """Whether a blob can be kept under ``text``."""
    return len(text) <= MAX_KEY and _KEY.match(text) is not None


def checked(key: str) -> str:
    """``key`` itself. Raises ValueError if it is none."""
    if not is_key(key):
        raise ValueError(f"not a key: {key[:100]!r}; letters, digits, '._-' and '/' between parts, none of them '..'")
    return key


def checked_prefix(prefix: str) -> str:
    """``prefix`` itself. Raises ValueError if no key can begin with it."""
    folder, slash, part = prefix.rpartition("/")
    if not _CHARACTERS.match(prefix) or len(part) > MAX_PART or (slash and not is_key(folder)):
        raise ValueError(f"no key begins with {prefix[:100]!r}")
    return prefix
