import pytest

from kf2v.notify.places import Places


def fill(places: Places[str], *holders: str) -> dict[str, int]:
    """What each has got once none can get any more, taking turns."""
    got = dict.fromkeys(holders, 0)
    while takers := [holder for holder in holders if places.open_to(holder)]:
        places.take(takers[0])
        got[takers[0]] += 1
        holders = (*[holder for holder in holders if holder != takers[0]], takers[0])
    return got


@pytest.mark.parametrize(("holders", "share"), [("a", 32), ("abc", 16), ("abcdefg", 8)])
def test_those_who_want_all_get_equal_shares_and_one_share_stays_free(holders: str, share: int) -> None:
    places = Places[str](64)
    assert fill(places, *holders) == dict.fromkeys(holders, share)
    assert places.open_to("newcomer")


def test_whoever_is_over_his_share_waits_until_others_have_theirs() -> None:
    places = Places[str](8)
    assert fill(places, "first") == {"first": 4}
    assert fill(places, "second") == {"second": 2}
    places.leave("first")
    assert not places.open_to("first")
    assert places.open_to("second")


def test_what_is_given_back_is_free_again() -> None:
    places = Places[str](2)
    places.take("one")
    assert not places.open_to("one")
    places.leave("one")
    assert fill(places, "another") == {"another": 1}


def test_when_nothing_is_free_nobody_gets_anything() -> None:
    places = Places[str](2)
    places.take("one")
    places.take("another")
    assert not places.open_to("newcomer")
