"""Where events may be sent, as far as an address shows it; what its host resolves to is judged at every try."""

from kf2v.errors import InvalidMediaUrl
from kf2v.net.guard import AllowedHosts, UnusableUrl, take_apart, without_secrets


def receiver(field: str, url: str, allowed: AllowedHosts) -> str:
    """``url`` as it came. Raises InvalidMediaUrl, naming ``field``, for one that can or may not be asked."""
    try:
        refusal = allowed.refusal(take_apart(url))
    except UnusableUrl as error:
        refusal = str(error)
    if refusal is None:
        return url
    shown = without_secrets(url)
    raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {field} cannot be used. {refusal}; got '{shown}'.")
