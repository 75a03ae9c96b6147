import pytest

from kf2v.admission.receivers import receiver
from kf2v.errors import InvalidMediaUrl
from kf2v.net.guard import AllowedHosts

NONE = AllowedHosts((), variable="KF2V_WEBHOOK_ALLOW_HOSTS")


@pytest.mark.parametrize("url", ["https://example.com/hook?token=1", "http://example.com", "https://[2606:4700::1]/"])
def test_a_public_address_will_do(url: str) -> None:
    assert receiver("url", url, NONE) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "should start with http"),
        ("ftp://example.com/", "should start with http"),
        ("https://me:secret@example.com/", "user name or password"),
        ("https:///nowhere", "host is missing"),
        ("https://exa mple.com/", "percent-encoded"),
        ("https://example.com:8443/", "KF2V_WEBHOOK_ALLOW_HOSTS=example.com"),
        ("http://127.0.0.1/", "KF2V_WEBHOOK_ALLOW_HOSTS=127.0.0.1"),
        ("http://10.0.0.8/", "not public"),
        ("http://169.254.169.254/latest/meta-data", "not public"),
        ("http://[::1]/", "not public"),
        ("http://localhost/", "not public"),
        ("http://kf2v.localhost./", "not public"),
    ],
)
def test_any_other_is_refused_with_the_reason_and_the_field(url: str, reason: str) -> None:
    with pytest.raises(InvalidMediaUrl) as refused:
        receiver("X-Kf2v-Callback", url, NONE)
    assert reason in refused.value.message
    assert "X-Kf2v-Callback" in refused.value.message
    assert "secret" not in refused.value.message


def test_the_owner_may_open_a_host() -> None:
    assert receiver("url", "http://127.0.0.1:9000/", AllowedHosts({"127.0.0.1:9000"}))
