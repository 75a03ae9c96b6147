"""Draw the watermark's texts once, as masks: python tools/draw_marks.py NotoSansCJK-Bold.ttc

The masks under src/kf2v/video/marks were drawn with Noto Sans CJK Bold, Debian's fonts-noto-cjk
1:20220127+repack1-1. Shipping pictures of two short texts instead of a font keeps fonts and a rasteriser out of the
product, and makes the mark the same bytes everywhere.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MARKS = Path(__file__).parents[1] / "src" / "kf2v" / "video" / "marks"
TEXTS = {"en.png": "AI-generated", "zh.png": "AI生成"}
#: of the em square; a 1080P mark needs about 64, so masks are only ever shrunk
PIXELS = 160
#: the simplified Chinese face within the collection
FACE = 2


def draw(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """White on black, cropped to the ink."""
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=font)
    return picture.crop(picture.getbbox())


def main() -> None:
    """Write both masks."""
    font = ImageFont.truetype(sys.argv[1], PIXELS, index=FACE, layout_engine=ImageFont.Layout.BASIC)
    MARKS.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        draw(text, font).save(MARKS / name, optimize=True)


if __name__ == "__main__":
    main()
