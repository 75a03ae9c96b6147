"""Five moments of a video side by side: ``python examples/strip.py .demo/video.mp4 docs/images/strip.jpg``."""

import sys
from itertools import compress
from pathlib import Path

from PIL import Image

from kf2v.video import mp4

MOMENTS = (0, 37, 75, 112, 149)
WIDTH, GAP = 320, 6


def strip(video: Path, out: Path) -> None:
    """Write the strip of ``video`` to ``out``."""
    wanted = (index in MOMENTS for index in range(MOMENTS[-1] + 1))
    tiles = [Image.fromarray(frame) for frame in compress(mp4.read_frames(video), wanted)]
    height = round(WIDTH * tiles[0].height / tiles[0].width)
    sheet = Image.new("RGB", (len(tiles) * (WIDTH + GAP) - GAP, height), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile.resize((WIDTH, height), Image.Resampling.LANCZOS), (place * (WIDTH + GAP), 0))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, quality=88)


if __name__ == "__main__":
    strip(Path(sys.argv[1]), Path(sys.argv[2]))
