"""Lists that their owner edits while they are in use."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kf2v.moderation import Exhibit, Undecided
from kf2v.moderation.lists import PICTURES, WORDS, Lists, blank
from kf2v.moderation.lists.kept import KeptList
from kf2v.moderation.lists.words import parse
from stage import texture

PROMPT = Exhibit(side="input", part="prompt")
FRAME = Exhibit(side="input", part="first_frame")


def read(lists: Lists, text: str) -> bool:
    return lists.read(text, PROMPT, lambda: None) is not None


def test_what_is_saved_counts_at_once(tmp_path: Path) -> None:
    lists = Lists(tmp_path)
    assert not lists.reads()
    (tmp_path / WORDS).write_text("gore\n")
    assert lists.reads()
    assert read(lists, "gore")
    (tmp_path / WORDS).write_text("# gone\nblood\n")
    assert not read(lists, "gore")
    assert read(lists, "blood")
    (tmp_path / WORDS).unlink()
    assert not lists.reads()
    assert not read(lists, "blood")


def test_a_file_replaced_by_another_of_the_same_length_and_time_is_read_again(tmp_path: Path) -> None:
    path, other = tmp_path / WORDS, tmp_path / "draft"
    path.write_text("gore\n")
    lists = Lists(tmp_path)
    assert read(lists, "gore")
    other.write_text("nude\n")
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert read(lists, "nude")


def test_broken_lines_are_told_by_number_and_left_out(tmp_path: Path) -> None:
    (tmp_path / WORDS).write_bytes(b"\xef\xbb\xbfgore\r\n\r\n# comment\r\n/(/\r\n\xff\xfe\r\nblood\r\n")
    lists = Lists(tmp_path)
    with capture_logs() as told:
        assert read(lists, "gore")
        assert read(lists, "blood")
    assert [line["line"] for line in told] == [4, 5]
    assert all(line["log_level"] == "warning" for line in told)


def test_a_list_that_cannot_be_read_leaves_it_undecided(tmp_path: Path) -> None:
    (tmp_path / WORDS).mkdir()
    lists = Lists(tmp_path)
    assert lists.reads()
    with pytest.raises(Undecided, match="cannot be read"):
        read(lists, "gore")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_list_saved_in_another_unicode_leaves_it_undecided_and_says_what_would_do(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / WORDS).write_text("# gore\n斩首\n", encoding)
    lists = Lists(tmp_path)
    for _ in range(2):
        with pytest.raises(Undecided, match="should be as UTF-8"):
            read(lists, "斩首")
    (tmp_path / WORDS).write_text("# gore\n斩首\n", "utf-8")
    assert read(lists, "斩首")


@pytest.mark.parametrize("name", [WORDS, PICTURES])
def test_what_is_shipped_explains_itself_in_two_languages_and_forbids_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(blank(name))
    lists = Lists(tmp_path)
    assert not read(lists, "beheading")
    assert lists.look(texture(1), FRAME, lambda: None) is None
    assert not lists.reads()
    assert not lists.looks()
    assert "Examples" in blank(name)
    assert "示例" in blank(name)


def test_the_shipped_examples_are_entries_once_the_comment_sign_is_gone(tmp_path: Path) -> None:
    for name in (WORDS, PICTURES):
        _, _, examples = blank(name).partition("示例")
        lines = [line.removeprefix("# ") for line in examples.splitlines()[1:]]
        (tmp_path / name).write_text("\n".join(line for line in lines if line != "#"))
    lists = Lists(tmp_path)
    with capture_logs() as told:
        for text in ("A beheading", "斩首", "two nudes", "Mickey Mouse", "米老鼠"):
            assert read(lists, text)
        assert lists.looks()
    assert told == []


def test_entries_know_their_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("\n# x\n\ngore\n")
    assert [entry.number for entry in KeptList(path, parse).entries()] == [4]


def test_a_long_list_is_not_read_by_who_only_wants_to_know_whether_there_is_one(tmp_path: Path) -> None:
    (tmp_path / WORDS).write_text("/(/\n")
    with capture_logs() as told:
        assert Lists(tmp_path).reads()
    assert told == []
