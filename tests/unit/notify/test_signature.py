import base64
import time

import pytest
from standardwebhooks import Webhook

from kf2v.notify.signature import account_secret, is_secret, new_secret, signed


def test_what_is_signed_verifies_with_the_standards_own_library() -> None:
    secret, body = new_secret(), '{"猫": 1}'.encode()
    headers = signed(body, event_id="e-1", secret=secret, now=time.time_ns() // 1_000_000)
    assert set(headers) == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert Webhook(secret).verify(body, headers) == {"猫": 1}


def test_the_standards_own_example_comes_out() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests."""
    headers = signed(
        b'{"test": 2432232314}',
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        now=1_614_265_330_000,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_usable_and_never_the_same() -> None:
    assert is_secret(new_secret())
    assert new_secret() != new_secret()


def test_an_accounts_secret_is_its_own_and_the_deployments() -> None:
    mine = account_secret(b"d" * 32, "mine")
    assert is_secret(mine)
    assert mine == account_secret(b"d" * 32, "mine")
    assert mine != account_secret(b"d" * 32, "theirs")
    assert mine != account_secret(b"e" * 32, "mine")


@pytest.mark.parametrize(
    ("secret", "usable"),
    [
        ("whsec_" + base64.b64encode(bytes(range(24))).decode(), True),
        ("whsec_" + base64.b64encode(bytes(range(64))).decode(), True),
        ("whsec_" + base64.b64encode(bytes(range(23))).decode(), False),
        ("whsec_" + base64.b64encode(bytes(range(65))).decode(), False),
        (base64.b64encode(bytes(range(32))).decode(), False),
        ("whsec_", False),
        ("", False),
        ("whsec_猫", False),
        ("whsec_" + "!" * 40, False),
    ],
)
def test_a_secret_of_ones_own_has_the_standards_form(secret: str, usable: bool) -> None:
    assert is_secret(secret) is usable
