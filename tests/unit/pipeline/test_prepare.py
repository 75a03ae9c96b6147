import io
import random
import re
import resource
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from kf2v.errors import FrameError, InvalidFileSize, InvalidImageFormat, InvalidResolution
from kf2v.pipeline.prepare import MAX_BYTES, MAX_SCANS, decode
from kf2v.video import Frame

PNG = b"\x89PNG\r\n\x1a\n"


def picture(width: int = 400, height: int = 380) -> npt.NDArray[np.uint8]:
    """Something with a top, a bottom, a left and a right."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256], axis=2).astype(np.uint8)


def saved(image: Image.Image | npt.NDArray[Any], kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(target, kind, **options)
    return target.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    rows: bytes, *, width: int, height: int, depth: int, colour: int, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG by hand: ``rows`` each with their filter byte, ``before`` and ``after`` being further chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG + head + before + chunk(b"IDAT", zlib.compress(rows, 1)) + after + chunk(b"IEND", b"")


def grey_png(*, width: int = 400, height: int = 380, before: bytes = b"", after: bytes = b"") -> bytes:
    rows = (b"\0" + b"\x80" * width) * height
    return png(rows, width=width, height=height, depth=8, colour=0, before=before, after=after)


def refusal(kind: type[FrameError], data: bytes) -> str:
    """What is said when ``data`` is refused."""
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert type(caught.value) is kind, caught.value.message
    assert caught.value.message.startswith(kind.sentence + " ")
    return caught.value.message


def apart(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int:
    """The largest difference of any two numbers."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("PNG", {"interlace": 1})],
)
def test_a_lossless_picture_comes_pixel_for_pixel(kind: str, options: dict[str, Any]) -> None:
    frame = decode(saved(picture(), kind, **options))
    assert np.array_equal(frame, picture())
    assert (frame.dtype, frame.flags.c_contiguous) == (np.uint8, True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"subsampling": 2}),
        ("JPEG", {"optimize": True}),
        ("WEBP", {"quality": 95}),
    ],
)
def test_a_lossy_picture_comes_near_enough(kind: str, options: dict[str, Any]) -> None:
    smooth = picture()
    smooth[..., 2] = 90
    frame = decode(saved(smooth, kind, **{"quality": 95, **options}))
    assert apart(frame, smooth) <= 16


def test_a_picture_is_what_its_bytes_are_not_what_they_are_called() -> None:
    assert decode(saved(picture(), "PNG") + b".jpg").shape == (380, 400, 3)


@pytest.mark.parametrize(("width", "height"), [(360, 360), (2000, 360), (360, 2000), (2000, 2000)])
def test_sides_up_to_the_limits_are_accepted(width: int, height: int) -> None:
    assert decode(saved(Image.new("RGB", (width, height)), "JPEG")).shape == (height, width, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(359, 400), (400, 359), (2001, 400), (400, 2001), (1, 1), (3000, 100)])
def test_sides_beyond_the_limits_are_refused_saying_what_came(kind: str, width: int, height: int) -> None:
    said = refusal(InvalidResolution, saved(Image.new("RGB", (width, height)), kind))
    assert f"It is {width}x{height}; both sides must be 360 to 2000 pixels." in said


def test_the_size_is_judged_before_features_are() -> None:
    refusal(InvalidResolution, saved(Image.new("RGBA", (300, 200)), "PNG"))
    refusal(InvalidResolution, saved(Image.new("RGBA", (300, 200), (1, 2, 3, 4)), "WEBP"))


def test_ten_megabytes_are_accepted_and_one_byte_more_is_not() -> None:
    data = saved(picture(), "PNG")
    assert decode(data + bytes(MAX_BYTES - len(data))).shape == (380, 400, 3)
    assert "10.00 MB" in refusal(InvalidFileSize, data + bytes(MAX_BYTES - len(data) + 1))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "It is empty"),
        (b"\0" * 100, "none of these"),
        (saved(picture(), "GIF"), "GIF"),
        (saved(picture(), "TIFF"), "TIFF"),
        (saved(picture(), "ICO"), "none of these"),
        (saved(picture(), "JPEG2000"), "JPEG 2000"),
        (saved(picture(), "PDF"), "PDF"),
        (saved(picture(), "AVIF"), "HEIC or AVIF"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC or AVIF"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "MP4"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='400' height='400'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg width='400' height='400'/>", "SVG"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b'{"code": "NoSuchKey"}', "JSON"),
        (b"Not found\n", "plain text"),
        (b"%!PS-Adobe", "none of these"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_kind_is_refused_by_its_name(data: bytes, named: str) -> None:
    said = refusal(InvalidImageFormat, data)
    assert "JPEG, PNG, BMP and WEBP are accepted." in said
    assert named in said


@pytest.mark.parametrize(
    "magic", [b"\xff\xd8\xff", PNG, b"BM", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X"]
)
def test_a_mere_beginning_is_refused(magic: bytes) -> None:
    with pytest.raises((InvalidImageFormat, InvalidResolution)):
        decode(magic)
    with pytest.raises((InvalidImageFormat, InvalidResolution)):
        decode(magic + b"\xff" * 1000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    data = saved(noise, kind)
    assert "damaged or incomplete" in refusal(InvalidImageFormat, data[: int(len(data) * share)])


ALPHA = {
    "RGBA PNG": saved(Image.new("RGBA", (400, 400), (1, 2, 3, 4)), "PNG"),
    "opaque RGBA PNG": saved(Image.new("RGBA", (400, 400), (1, 2, 3, 255)), "PNG"),
    "LA PNG": saved(Image.new("LA", (400, 400), (1, 2)), "PNG"),
    "transparent palette PNG": saved(Image.new("P", (400, 400), 1), "PNG", transparency=1),
    "transparent RGB PNG": saved(Image.new("RGB", (400, 400)), "PNG", transparency=(0, 0, 0)),
    "transparent grey PNG": saved(Image.new("L", (400, 400)), "PNG", transparency=7),
    "transparent 1-bit PNG": saved(Image.new("1", (400, 400)), "PNG", transparency=1),
    "16-bit RGBA PNG": png((b"\0" + bytes(8 * 400)) * 400, width=400, height=400, depth=16, colour=6),
    "16-bit LA PNG": png((b"\0" + bytes(4 * 400)) * 400, width=400, height=400, depth=16, colour=4),
    "lossy WEBP": saved(Image.new("RGBA", (400, 400), (1, 2, 3, 4)), "WEBP"),
    "lossless WEBP": saved(Image.new("RGBA", (400, 400), (1, 2, 3, 4)), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", ALPHA)
def test_an_alpha_channel_is_refused(name: str) -> None:
    assert "alpha channel; transparency is not supported" in refusal(InvalidImageFormat, ALPHA[name])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    images = [Image.new("RGB", (400, 400), (shade, 0, 0)) for shade in (0, 100, 200)]
    data = saved(images[0], kind, save_all=True, append_images=images[1:], duration=100)
    assert f"animated {kind}" in refusal(InvalidImageFormat, data)


def test_a_phones_jpeg_with_a_preview_behind_it_is_its_first_picture() -> None:
    data = saved(picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (100, 100))], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert decode(data).shape == (380, 400, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    undo: dict[int, Callable[[Frame], Frame]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture()
    stored[..., 2] = 90
    options = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}}[kind]
    frame = decode(saved(stored, kind, exif=exif, **options))
    assert apart(frame, undo[orientation](stored)) <= 16
    assert frame.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(saved(picture(), "JPEG", exif=exif)).shape == (380, 400, 3)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage!", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 50])
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(saved(picture(), "JPEG", exif=exif)).shape == (380, 400, 3)


def test_grey_palette_and_one_bit_pictures_become_rgb() -> None:
    grey = picture()[..., 0]
    assert np.array_equal(decode(saved(grey, "PNG")), np.stack([grey] * 3, axis=2))
    assert np.array_equal(decode(saved(grey, "BMP")), np.stack([grey] * 3, axis=2))
    palette = Image.fromarray(picture()).quantize(64)
    assert np.array_equal(decode(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))
    assert np.array_equal(decode(saved(palette, "BMP")), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(grey).convert("1")
    for kind in ("PNG", "BMP"):
        assert np.array_equal(decode(saved(bits, kind)), np.asarray(bits.convert("RGB")))
    assert apart(decode(saved(grey, "JPEG", quality=95)), np.stack([grey] * 3, axis=2)) <= 8


def test_sixteen_bits_of_grey_are_scaled_to_eight() -> None:
    wide = np.linspace(0, 65535, 400 * 400).astype(np.uint16).reshape(400, 400)
    frame = decode(saved(wide, "PNG"))
    assert apart(frame[..., 0], np.rint(wide / 257)) == 0
    assert (frame.min(), frame.max()) == (0, 255)


def test_sixteen_bits_of_colour_are_scaled_to_eight() -> None:
    wide = np.random.default_rng(2).integers(0, 65536, (400, 400, 3)).astype(">u2")
    wide[0, 0], wide[0, 1] = 0, 65535
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    frame = decode(png(rows, width=400, height=400, depth=16, colour=2))
    assert apart(frame, np.rint(wide / 257)) <= 1
    assert (frame[0, 0].tolist(), frame[0, 1].tolist()) == ([0, 0, 0], [255, 255, 255])


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_of_grey_are_stretched_over_all_of_it(bits: int) -> None:
    frame = decode(png((b"\0" + b"\xff" * (400 * bits // 8)) * 400, width=400, height=400, depth=bits, colour=0))
    assert frame.min() == 255


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC v2 profile by hand (ICC.1:2001-04, 6.1 and 6.2)."""
    white = struct.pack(">4sIiii", b"XYZ ", 0, 0xF6D6, 0x10000, 0xD32D)
    tags = {b"wtpt": white, b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = 128 + len(table) + len(content)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"", 0x02400000, kind, space, pcs, bytes(12), b"acsp")
    return head + bytes(68 - len(head)) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D) + bytes(48) + table + content


#: Display P3's colorants, adapted to D50, as columns
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
#: sRGB's, likewise
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def p3_profile() -> bytes:
    """Display P3's primaries with a plain gamma of 2."""
    curve = struct.pack(">4sIIHH", b"curv", 0, 1, 2 << 8, 0)
    columns = {
        name: struct.pack(">4sIiii", b"XYZ ", 0, *(round(value * 65536) for value in P3[:, index]))
        for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return profile(b"RGB ", b"mntr", b"XYZ ", {**columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile() -> bytes:
    """Grey with a gamma of 1.8 (461/256)."""
    return profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": struct.pack(">4sIIHH", b"curv", 0, 1, 461, 0)})


def ink_profile() -> bytes:
    """Four inks that all give the same red: Lab (128/255 · 100, 50, 40), whatever is printed."""
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9)))
    lut = struct.pack(">4sIBBBx", b"mft1", 0, 4, 3, 2) + matrix + ramp * 4 + bytes([128, 178, 168]) * 16 + ramp * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": lut})


def srgb_encoded(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_display_p3_picture_becomes_srgb(kind: str) -> None:
    stored = picture()
    linear = (stored / 255.0) ** 2 @ (np.linalg.inv(SRGB) @ P3).T
    frame = decode(saved(stored, kind, icc_profile=p3_profile(), **({"lossless": True} if kind == "WEBP" else {})))
    assert apart(frame, np.rint(srgb_encoded(linear))) <= 3
    assert apart(frame, stored) > 20


def test_a_palette_with_a_profile_becomes_srgb() -> None:
    palette = Image.fromarray(picture()).quantize(64)
    linear = (np.asarray(palette.convert("RGB")) / 255.0) ** 2 @ (np.linalg.inv(SRGB) @ P3).T
    assert apart(decode(saved(palette, "PNG", icc_profile=p3_profile())), np.rint(srgb_encoded(linear))) <= 3


def test_grey_with_a_profile_becomes_srgb() -> None:
    grey = picture()[..., 0]
    frame = decode(saved(grey, "PNG", icc_profile=grey_profile()))
    assert apart(frame[..., 1], np.rint(srgb_encoded((grey / 255.0) ** (461 / 256)))) <= 1
    assert apart(frame[..., 1], grey) > 5


def test_an_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert apart(decode(saved(picture(), "PNG", icc_profile=srgb)), picture()) <= 1


@pytest.mark.parametrize(
    "icc", [b"", b"garbage", p3_profile()[:200], grey_profile(), ink_profile(), bytes(128) + b"\xff" * 500]
)
def test_a_profile_that_does_not_fit_is_ignored(icc: bytes) -> None:
    assert np.array_equal(decode(saved(picture(), "PNG", icc_profile=icc)), picture())


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    inks = Image.new("CMYK", (400, 400), (255, 0, 0, 0))
    assert apart(decode(saved(inks, "JPEG", quality=95))[0, 0], np.array([0, 255, 255])) <= 3
    black = Image.new("CMYK", (400, 400), (0, 0, 0, 255))
    assert apart(decode(saved(black, "JPEG", quality=95))[0, 0], np.array([0, 0, 0])) <= 3


def test_a_ycck_jpeg_becomes_rgb() -> None:
    data = saved(Image.new("CMYK", (400, 400), (100, 127, 127, 0)), "JPEG", quality=95)
    adobe = data.index(b"Adobe")
    ycck = data[: adobe + 11] + b"\2" + data[adobe + 12 :]
    assert apart(decode(ycck)[0, 0], np.array([100, 100, 100])) <= 3


def test_a_cmyk_jpeg_goes_through_its_profile() -> None:
    inks = Image.new("CMYK", (400, 400), (255, 0, 0, 0))
    red, green, blue = decode(saved(inks, "JPEG", quality=95, icc_profile=ink_profile()))[0, 0].tolist()
    assert apart(np.array([red, green, blue]), np.array([202, 80, 55])) <= 12


def text(size: int) -> bytes:
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size), 9))


@pytest.mark.parametrize("place", ["before", "after"])
def test_text_that_unpacks_to_far_more_is_refused(place: str) -> None:
    refusal(InvalidImageFormat, grey_png(**{place: text(8 << 20)}))


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_short_text_is_no_harm(place: str) -> None:
    assert decode(grey_png(**{place: text(1000)})).shape == (380, 400, 3)


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are ``count``."""
    data = saved(Image.new("RGB", (400, 400), (10, 200, 30)), "JPEG", progressive=True)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    return data[:-2] + data[starts[-1] : -2] * (count - len(starts)) + data[-2:]


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    assert decode(scans(MAX_SCANS)).shape == (400, 400, 3)
    assert f"more than {MAX_SCANS} scans" in refusal(InvalidImageFormat, scans(MAX_SCANS + 1))


def test_what_follows_or_hides_in_a_jpeg_is_not_counted() -> None:
    data = saved(picture(), "JPEG")
    hidden = b"\xff\xe5" + struct.pack(">H", 2 + 3 * 200) + b"\xff\xda\0" * 200
    assert decode(data[:2] + hidden + data[2:] + b"\xff\xda\0" * 200).shape == (380, 400, 3)


def bombs(folder: Path) -> list[Path]:
    """Small files that would be large pictures, as files."""
    zeros = zlib.compressobj(1)
    idat = b"".join(zeros.compress(bytes(12_001)) for _ in range(12_000)) + zeros.flush()
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    jpeg = bytearray(saved(Image.new("RGB", (400, 400)), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    canvas = struct.pack("<I", 0) + (16_382).to_bytes(3, "little") * 2
    lossless = b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14)
    files = {
        "png": PNG + chunk(b"IHDR", head) + chunk(b"IDAT", idat) + chunk(b"IEND", b""),
        "text.png": grey_png(before=text(60 << 20)),
        "profile.png": grey_png(before=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(60 << 20), 9))),
        "texts.png": grey_png(before=text(1_000_000) * 500),
        "jpeg": bytes(jpeg),
        "bmp": b"BM"
        + struct.pack("<IHHI", 1000, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, *[0] * 6),
        "webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas,
        "lossless.webp": b"RIFF" + struct.pack("<I", 18) + b"WEBPVP8L" + struct.pack("<I", 5) + lossless + b"\0",
    }
    for name, data in files.items():
        (folder / f"bomb.{name}").write_bytes(data)
    return [folder / f"bomb.{name}" for name in files]


def test_a_bomb_is_refused_without_the_memory_it_asks_for(tmp_path: Path) -> None:
    program = f"""
import pathlib, resource, sys
from kf2v.errors import FrameError
from kf2v.pipeline.prepare import decode
decode(pathlib.Path(sys.argv[1]).read_bytes())
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * {resource.getpagesize()}
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20),) * 2)
for path in sys.argv[2:]:
    try:
        decode(pathlib.Path(path).read_bytes())
    except FrameError as error:
        print(pathlib.Path(path).name, type(error).__name__)
"""
    (tmp_path / "warm.png").write_bytes(grey_png())
    files = [tmp_path / "warm.png", *bombs(tmp_path)]
    answer = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    assert answer.stdout.split("\n") == [
        "bomb.png InvalidResolution",
        "bomb.text.png InvalidImageFormat",
        "bomb.profile.png InvalidImageFormat",
        "bomb.texts.png InvalidImageFormat",
        "bomb.jpeg InvalidResolution",
        "bomb.bmp InvalidResolution",
        "bomb.webp InvalidResolution",
        "bomb.lossless.webp InvalidResolution",
        "",
    ]


def test_no_damage_brings_up_anything_but_a_frame_or_its_refusal() -> None:
    small = picture(360, 360)
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [
        saved(small, "JPEG", exif=exif, icc_profile=p3_profile()),
        saved(small, "JPEG", progressive=True, quality=40),
        saved(Image.new("CMYK", (360, 360), (9, 80, 7, 60)), "JPEG", icc_profile=ink_profile()),
        saved(small, "PNG", exif=exif, icc_profile=p3_profile()),
        saved(Image.fromarray(small).quantize(16), "PNG"),
        saved(small[..., 0].astype(np.uint16) * 257, "PNG"),
        saved(small, "BMP"),
        saved(Image.fromarray(small).quantize(16), "BMP"),
        saved(small, "WEBP", exif=exif, icc_profile=p3_profile()),
        saved(small, "WEBP", lossless=True),
        saved(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (360, 360))]),
        saved(small, "PNG", save_all=True, append_images=[Image.new("RGB", (360, 360))]),
    ]
    chance = random.Random(20)
    for case in range(600):
        data = damaged(seeds[case % len(seeds)], chance)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                frame = decode(data)
            except FrameError as error:
                assert error.message.startswith(error.sentence)
            else:
                assert frame.dtype == np.uint8
                assert frame.shape[2] == 3
                assert 360 <= min(frame.shape[:2]) <= max(frame.shape[:2]) <= 2000


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """Bytes flipped (mostly near the head, where they hurt), cut out, repeated, or the end missing."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        reach = chance.choice((40, 200, 800, len(data)))
        data[chance.randrange(min(reach, len(data)))] = chance.choice((0, 0xFF, chance.randrange(256)))
    at, length = chance.randrange(len(data)), chance.randrange(64)
    match chance.randrange(6):
        case 0:
            del data[at:]
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[at : at + length]
        case _:
            pass
    return bytes(data)
