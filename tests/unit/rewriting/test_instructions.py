"""What a language model is told to write."""

import pytest

from kf2v.rewriting.chat.instructions import system
from kf2v.rewriting.language import Language

SAID: dict[Language, tuple[str, ...]] = {
    "en": (
        "motion, and the camera movement",
        "customer's own sentence, word for word",
        "80 to 120 words",
        "becomes the last",
    ),
    "zh": ("运动，以及运镜", "用户自己的句子开头，逐字保留", "120至180个字", "首帧如何变成尾帧"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("empty", [False, True])
def test_it_is_told_the_formula_the_length_and_whose_words_come_first(language: Language, empty: bool) -> None:
    told = system(language, empty=empty)
    for words in SAID[language]:
        assert words in told
    assert "{" not in told, "everything is filled in"
