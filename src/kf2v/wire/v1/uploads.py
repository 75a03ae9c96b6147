"""The temporary upload as the SDKs' ``file://`` flow needs it: a signed policy, then a form post that carries it.

The post has no key: whoever holds the policy may add files under its directory until it expires. So the policy names
the account and the model, and the signature covers both.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from kf2v.clock import SECOND
from kf2v.errors import InvalidParameter, PolicyExpired, PolicyInvalid
from kf2v.links import KEY_ID, Signer
from kf2v.wire.v1 import times
from kf2v.wire.v1.media import FRAME_LIMIT

#: the vendor's policies live 300 seconds
POLICY_SECONDS = 300
_BUCKET = "kf2v-instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a policy allows."""

    account: str
    model: str
    #: without outer slashes; new for each policy
    directory: str
    #: milliseconds since the epoch
    expires_at: int


def directory_of(account: str, request_id: str, *, now: int, signer: Signer) -> str:
    """A directory nobody else has: ``dashscope-instant/<32 hex of the account>/<date>/<request id>``."""
    owner = base64.urlsafe_b64decode(signer.digest(f"upload directory\n{account}") + "=").hex()[:32]
    return f"dashscope-instant/{owner}/{times.render(now)[:10]}/{request_id}"


def render_policy(grant: Grant, *, upload_host: str, signer: Signer) -> dict[str, object]:
    """``data`` of a getPolicy answer. The members that travel back in the form are strings: Python's SDK sends them
    as they are, and would make "True" of a JSON true."""
    policy = base64.b64encode(
        msgspec.json.encode(
            {
                "expiration": times.render_iso(grant.expires_at),
                "conditions": [
                    ["content-length-range", 0, FRAME_LIMIT],
                    ["starts-with", "$key", grant.directory],
                    {"bucket": _BUCKET},
                    {"x-oss-object-acl": "private"},
                    {"x-oss-forbid-overwrite": "true"},
                ],
                "grant": grant,
            }
        )
    ).decode()
    return {
        "policy": policy,
        "signature": signer.digest(f"upload policy\n{policy}"),
        "upload_dir": grant.directory,
        "upload_host": upload_host,
        "expire_in_seconds": POLICY_SECONDS,
        "max_file_size_mb": FRAME_LIMIT // (1024 * 1024),
        "capacity_limit_mb": 999_999_999,
        "oss_access_key_id": KEY_ID,
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
    }


def expiry(now: int) -> int:
    """When a policy issued at ``now`` ends."""
    return now + POLICY_SECONDS * SECOND


def check_form(fields: Mapping[str, str], *, signer: Signer, now: int) -> tuple[Grant, str]:
    """The grant behind a form and the key it asks for.

    Raises PolicyInvalid for a forged policy or a key outside its directory, PolicyExpired past its end and
    InvalidParameter where a field is missing.
    """
    for name in ("policy", "Signature", "key"):
        if not fields.get(name):
            raise InvalidParameter(f'Required parameter "{name}" missing from the form.')
    policy, key = fields["policy"], fields["key"]
    if not signer.matches(f"upload policy\n{policy}", fields["Signature"]):
        raise PolicyInvalid
    grant = _grant(policy)
    if now >= grant.expires_at:
        raise PolicyExpired
    inside = key.startswith(grant.directory + "/") and len(key) > len(grant.directory) + 1
    if not inside or len(key.encode("utf-8", "replace")) > 1023:
        raise PolicyInvalid("Invalid according to Policy: Policy Condition failed: [starts-with, $key].")
    return grant, key


class _Policy(msgspec.Struct):
    grant: Grant


def _grant(policy: str) -> Grant:
    try:
        return msgspec.json.decode(base64.b64decode(policy, validate=True), type=_Policy).grant
    except (binascii.Error, ValueError) as error:
        raise PolicyInvalid from error
