"""Who does the arithmetic."""

import threading

import cv2
import numpy as np
import pytest

from kf2v.video.motion.threads import both, limit_blas, work_alone


def test_both_results_come_in_the_order_they_were_asked_for() -> None:
    assert both(lambda: 1, lambda: "two") == (1, "two")


def test_both_are_worked_out_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)

    both(meeting.wait, meeting.wait)  # either alone would wait in vain


@pytest.mark.parametrize("fails", [0, 1])
def test_what_fails_in_either_thread_is_raised(fails: int) -> None:
    def fail() -> None:
        raise ValueError("no")

    def work() -> None: ...

    with pytest.raises(ValueError, match="no"):
        both(*((fail, work) if fails == 0 else (work, fail)))


def test_opencv_starts_no_threads_of_its_own() -> None:
    work_alone()

    assert cv2.getNumThreads() == 1


def test_numpy_built_with_openblas_keeps_to_one_thread() -> None:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if "openblas" not in blas:
        pytest.skip(f"numpy was built with {blas}")

    assert limit_blas()
