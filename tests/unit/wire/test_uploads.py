"""Policies: what is signed is what is allowed."""

import pytest

from kf2v.errors import PolicyExpired, PolicyInvalid
from kf2v.links import Signer
from kf2v.wire.v1 import uploads

SIGNER = Signer(b"k" * 32)
NOW = 1_760_000_000_000


def granted(signer: Signer = SIGNER) -> dict[str, str]:
    grant = uploads.Grant(account="a", model="m", directory="d/1", expires_at=uploads.expiry(NOW))
    policy = uploads.render_policy(grant, upload_host="http://h/uploads", signer=signer)
    return {"policy": str(policy["policy"]), "Signature": str(policy["signature"]), "key": "d/1/x.png"}


def test_a_form_gives_back_the_grant_and_the_key() -> None:
    grant, key = uploads.check_form(granted(), signer=SIGNER, now=NOW)
    assert (grant.account, grant.model, key) == ("a", "m", "d/1/x.png")


def test_every_flipped_character_of_policy_or_signature_is_noticed() -> None:
    for field in ("policy", "Signature"):
        whole = granted()[field]
        for place, character in enumerate(whole):
            form = granted()
            form[field] = whole[:place] + ("A" if character != "A" else "B") + whole[place + 1 :]
            with pytest.raises(PolicyInvalid):
                uploads.check_form(form, signer=SIGNER, now=NOW)


def test_another_deployments_policy_is_invalid() -> None:
    with pytest.raises(PolicyInvalid):
        uploads.check_form(granted(Signer(b"o" * 32)), signer=SIGNER, now=NOW)


def test_a_policy_ends_on_the_millisecond() -> None:
    end = uploads.expiry(NOW)
    assert uploads.check_form(granted(), signer=SIGNER, now=end - 1)
    with pytest.raises(PolicyExpired):
        uploads.check_form(granted(), signer=SIGNER, now=end)


@pytest.mark.parametrize("key", ["d/1", "d/1/", "d/10/x.png", "e/1/x.png", "", "d/1/" + "é" * 600])
def test_a_key_has_to_lie_in_the_directory_and_be_no_longer_than_a_key(key: str) -> None:
    form = granted() | {"key": key}
    with pytest.raises(Exception, match=r"Policy|key"):
        uploads.check_form(form, signer=SIGNER, now=NOW)


def test_accounts_have_directories_of_their_own() -> None:
    one, two = (uploads.directory_of(who, "id", now=NOW, signer=SIGNER) for who in ("a", "b"))
    assert one != two
    assert one == uploads.directory_of("a", "id", now=NOW, signer=SIGNER)
