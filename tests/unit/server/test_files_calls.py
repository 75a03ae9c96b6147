"""Signed links to videos: the link is the right, and it ends."""

from urllib.parse import urlsplit

import pytest

from house import House, Open
from kf2v.clock import HOUR
from kf2v.server.v1.files import RangeNotSatisfiable, parts_of

FILM = bytes(range(256)) * 40


def finished(house: House) -> str:
    """The path and query of a finished video."""
    task_id = house.created()
    house.finish(task_id, data=FILM)
    parts = urlsplit(house.query(task_id)["output"]["video_url"])
    return f"{parts.path}?{parts.query}"


def test_a_link_needs_no_key_and_gives_the_video(house: House) -> None:
    answer = house.call("GET", finished(house), key=None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content == FILM
    assert "x-request-id" in answer.headers


def test_every_poll_shows_the_same_link(house: House) -> None:
    task_id = house.created()
    house.finish(task_id)
    first = house.query(task_id)["output"]["video_url"]
    house.clock.advance(3 * HOUR)
    assert house.query(task_id)["output"]["video_url"] == first


def test_the_link_is_of_the_host_the_client_asked(house: House, open_house: Open) -> None:
    task_id = house.created()
    house.finish(task_id)
    assert house.query(task_id)["output"]["video_url"].startswith("http://kf2v.test/results/")
    named = open_house(public_url="https://films.example.com/")
    task_id = named.created()
    named.finish(task_id)
    assert named.query(task_id)["output"]["video_url"].startswith("https://films.example.com/results/")


def test_a_link_ends_when_its_task_is_forgotten(house: House) -> None:
    link = finished(house)
    house.clock.advance(24 * HOUR - 1000)
    assert house.call("GET", link, key=None).status_code == 200
    house.clock.advance(1000)
    answer = house.call("GET", link, key=None)
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")


@pytest.mark.parametrize("change", ["drop signature", "drop query", "later", "other task", "flip"])
def test_a_forged_link_is_403(house: House, change: str) -> None:
    link = finished(house)
    forged = {
        "drop signature": link.split("&Signature=")[0],
        "drop query": link.split("?")[0],
        "later": link.replace("Expires=1", "Expires=2"),
        "other task": link.replace("/results/", "/results/x"),
        "flip": link[:-1] + ("A" if link[-1] != "A" else "B"),
    }[change]
    answer = house.call("GET", forged, key=None)
    assert answer.status_code == 403
    assert set(answer.json()) == {"code", "message", "request_id"}


def test_a_link_does_not_care_who_else_has_a_key(house: House) -> None:
    assert house.call("GET", finished(house), key="sk-wrong").status_code == 200


def test_head_tells_the_same_without_the_body(house: House) -> None:
    answer = house.call("HEAD", finished(house), key=None)
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(FILM))
    assert answer.content == b""


def test_what_has_not_changed_is_304(house: House) -> None:
    link = finished(house)
    etag = house.call("GET", link, key=None).headers["etag"]
    again = house.call("GET", link, key=None, headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert again.content == b""


def test_one_of_several_known_versions_is_enough_for_304(house: House) -> None:
    link = finished(house)
    etag = house.call("GET", link, key=None).headers["etag"]
    answer = house.call("GET", link, key=None, headers={"If-None-Match": f'"older", W/{etag}'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert house.call("GET", link, key=None, headers={"If-None-Match": '"older", "oldest"'}).content == FILM


@pytest.mark.parametrize("asked", ["bytes=0-4,999999-", "bytes=999999-1999999, 0-4", "bytes=-0,0-4"])
def test_parts_beyond_the_end_do_not_cost_the_parts_that_are_there(asked: str) -> None:
    assert parts_of(asked, len(FILM)) == ["0-4"]


def test_a_range_with_nothing_there_is_not_satisfiable() -> None:
    with pytest.raises(RangeNotSatisfiable):
        parts_of("bytes=999999-,-0", len(FILM))
