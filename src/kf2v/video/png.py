"""A picture out of a film, as a file."""

import io
from pathlib import Path

from PIL import Image

from kf2v.video import mp4


def png_of(path: Path, number: int | None) -> bytes:
    """The frame of that number, from 0, or the last, of the video at ``path``. Raises IndexError if it has none."""
    file = io.BytesIO()
    Image.fromarray(mp4.frame(path, number)).save(file, "PNG", compress_level=1)
    return file.getvalue()
