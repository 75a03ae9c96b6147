"""What of settings only their owner should read, as it is sent and as it is shown."""

import re

from pydantic import SecretStr

#: who asks, and his password, in a URL; a sign in it that should have been escaped must not show the rest of it
_PASSWORD = re.compile(r"//[^?#]*@")
#: values after a question mark, whatever they are called: no list of names for keys would be whole
_QUERY = re.compile(r"(?<=[?&#])([^=&#]+=)?[^&#]+")


def bare(key: SecretStr | None) -> str:
    """A secret as it is sent; empty where there is none."""
    return key.get_secret_value().strip() if key else ""


def starred(value: object) -> object:
    """``value``, and if it is a URL, without what only its owner should read: a user with his password, and the values
    in its query.

    Text around a URL may lose something too; a secret is never left because of what stands beside it.
    """
    if not isinstance(value, str) or "//" not in value:
        return value
    return _PASSWORD.sub("//***@", _QUERY.sub(r"\1***", value))
