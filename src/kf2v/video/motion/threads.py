"""Who does the arithmetic: the thread that asks for it, and one more where two directions can be searched at once."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TypeVar

import cv2

T = TypeVar("T")
U = TypeVar("U")


def work_alone() -> None:
    """Keep OpenCV and numpy from starting threads of their own, in the whole process.

    Optical flow cuts its work into as many strips as OpenCV has threads, and strips show in the result. Numpy's
    OpenBLAS lets its threads spin for 13 ms after every product of matrices, in case there comes another: half a
    second of the other core for each film.
    """
    cv2.setNumThreads(1)
    limit_blas()


def limit_blas() -> bool:
    """Whether numpy's BLAS could be told to keep to one thread; one that is not OpenBLAS is left as it is."""
    spec = find_spec("numpy._core._multiarray_umath")
    if spec is None or spec.origin is None:
        return False
    library = ctypes.CDLL(spec.origin)  # long loaded: this finds what it is linked to
    for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
        if hasattr(library, name):
            getattr(library, name)(ctypes.c_int(1))
            return True
    return False


def both(one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
    """The results of both, worked out at the same time; OpenCV and numpy let go of the interpreter meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(other)
        return one(), later.result()
