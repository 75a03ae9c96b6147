"""A frame as others look at it: a JPEG, no larger than they care for."""

import base64
import io

import cv2
import numpy as np
from PIL import Image

from kf2v.video.frames import Frame

#: pixels of the long side: models look at no more, and few charge for less
LONG_SIDE = 768
QUALITY = 85


def jpeg(frame: Frame, *, long_side: int = LONG_SIDE) -> bytes:
    """``frame`` with its long side at ``long_side`` pixels, or as it is where it has fewer."""
    height, width = frame.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def data_url(frame: Frame) -> str:
    """The same, in a URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(frame)).decode('ascii')}"
