"""How large a take is: frames and latents in time, tokens in space, and the size it is generated at.

Knows neither torch nor files.
"""

import numpy as np

from kf2v.video import Frame, Size
from kf2v.video.frames import size_of
from kf2v.video.size import STEP

#: frames of a take, and how many are a second: what every Wan checkpoint was trained on (Wan2.1 ``generate.py``)
FRAMES, FPS = 81, 16
#: pixels per latent, in time and in space: the strides of Wan's VAE
LATENT_FRAMES, LATENT_SIDE = 4, 8
#: latents per token, in height and in width: the transformer's patch is (1, 2, 2)
PATCH = 2
#: pixels; the largest area Wan was trained on
TRAINED_AREA = 1280 * 720
#: how much larger than generated a film of more than that area becomes: √(1920·1080 / 1280·720)
ENLARGEMENT = 1.5


def latents_of(frames: int) -> int:
    """How many latent frames ``frames`` are: the first stands for one, each of the others for four.

    Raises ValueError unless ``frames`` is 4k + 1.
    """
    if frames < 1 or frames % LATENT_FRAMES != 1:
        raise ValueError(f"a take has 4k + 1 frames, not {frames}")
    return (frames - 1) // LATENT_FRAMES + 1


def frames_of(latents: int) -> int:
    """How many frames ``latents`` latent frames decode to."""
    return (latents - 1) * LATENT_FRAMES + 1


def latent_shape(size: Size, frames: int) -> tuple[int, int, int]:
    """(T, h, w) of a take's latents. Raises ValueError unless both sides are multiples of 16."""
    if size.width % STEP or size.height % STEP:
        raise ValueError(f"both sides of a take are multiples of {STEP}, not {size.width}x{size.height}")
    return latents_of(frames), size.height // LATENT_SIDE, size.width // LATENT_SIDE


def tokens(size: Size, frames: int = FRAMES) -> int:
    """How long the transformer's sequence is: 75,600 for 81 frames of 1280x720."""
    count, height, width = latent_shape(size, frames)
    return count * (height // PATCH) * (width // PATCH)


def generation_size(film: Size, *, native: bool) -> Size:
    """The size at which a film of ``film`` is generated.

    Up to the trained area, and always if ``native``, its own. A larger one is generated two thirds as wide and as high,
    each side rounded to the nearest multiple of 16: 1920x1072 becomes 1280x720. That may squeeze the picture
    by a percent, which enlarging undoes; nothing is cropped.
    """
    if native or film.width * film.height <= TRAINED_AREA:
        return film
    return Size(width=_two_thirds(film.width), height=_two_thirds(film.height))


def _two_thirds(side: int) -> int:
    return max(STEP, round(side / ENLARGEMENT / STEP) * STEP)


def resized(frame: Frame, size: Size) -> Frame:
    """``frame`` stretched to ``size``: areas averaged on the way down, Lanczos over 8x8 pixels on the way up."""
    given = size_of(frame)
    if given == size:
        return frame
    smaller = size.width * size.height < given.width * given.height
    import cv2

    kernel = cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(frame, (size.width, size.height), interpolation=kernel), np.uint8)
