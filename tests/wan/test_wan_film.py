"""Frames on their way out: a latent ahead, in order, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from kf2v.engines.wan.film import ahead, developed
from kf2v.engines.wan.geometry import resized
from kf2v.engines.wan.vae import Vae, pictures
from kf2v.video import Size
from kf2v.video.frames import size_of
from scenery import Held
from wan import tiny


@pytest.fixture(scope="module")
def vae() -> Vae:
    torch.manual_seed(3)
    return Vae(tiny.vae(), device=torch.device("cpu"), dtype=torch.float32)


LATENTS = torch.randn(1, 16, 5, 6, 8, generator=torch.Generator().manual_seed(1))


def nothing(index: int) -> None:
    del index


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("wan-")]


def test_frames_come_as_the_vae_decodes_them(vae: Vae) -> None:
    expected = [frame for chunk in vae.decode(LATENTS) for frame in pictures(chunk)]
    made = list(developed(vae, LATENTS, Size(width=64, height=48), on_frame=nothing))
    assert len(made) == 17
    assert all(np.array_equal(a, b) for a, b in zip(made, expected, strict=True))
    assert not decoders()


def test_smaller_frames_are_enlarged(vae: Vae) -> None:
    film = Size(width=96, height=80)
    small = next(iter(developed(vae, LATENTS, Size(width=64, height=48), on_frame=nothing)))
    for index, frame in enumerate(developed(vae, LATENTS, film, on_frame=nothing)):
        assert size_of(frame) == film
        if index == 0:
            assert np.array_equal(frame, resized(small, film))


def test_every_frame_is_told_before_it_is_given(vae: Vae) -> None:
    told: list[int] = []
    for index, _ in enumerate(developed(vae, LATENTS, Size(width=64, height=48), on_frame=told.append)):
        assert told == list(range(index + 1))


def test_whoever_is_told_may_stop_everything(vae: Vae) -> None:
    def enough(index: int) -> None:
        if index == 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        list(developed(vae, LATENTS, Size(width=64, height=48), on_frame=enough))
    assert not decoders()


def test_one_latent_is_decoded_ahead_and_no_more() -> None:
    begun: list[int] = []

    def source() -> Iterator[int]:
        for number in range(9):
            begun.append(number)
            yield number

    for number in ahead(source()):
        deadline = time.monotonic() + 5
        while len(begun) < min(9, number + 2) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(begun) == min(9, number + 2)


def test_frames_are_not_gathered(vae: Vae) -> None:
    held = Held()
    for frame in held.passing(developed(vae, LATENTS, Size(width=64, height=48), on_frame=nothing)):
        del frame
    assert held.most <= 2


def test_what_goes_wrong_in_the_thread_is_told_where_frames_are_asked_for() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    given = ahead(source())
    assert next(given) == 1
    with pytest.raises(ZeroDivisionError):
        next(given)
    assert not decoders()


def test_a_film_left_in_the_middle_takes_its_thread_along(vae: Vae) -> None:
    film = developed(vae, LATENTS, Size(width=64, height=48), on_frame=nothing)
    next(film)
    assert decoders()
    del film
    assert not decoders()


def test_a_film_nobody_asked_for_a_frame_of_has_no_thread(vae: Vae) -> None:
    film = developed(vae, LATENTS, Size(width=64, height=48), on_frame=nothing)
    assert not decoders()
    del film


def test_latents_that_are_no_numbers_are_told(vae: Vae) -> None:
    from kf2v.errors import AlgorithmError

    broken: Tensor = LATENTS.clone()
    broken[:, :, 2] = float("inf")
    with pytest.raises(AlgorithmError):
        list(developed(vae, broken, Size(width=64, height=48), on_frame=nothing))
