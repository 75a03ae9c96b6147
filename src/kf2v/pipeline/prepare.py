"""Bytes that claim to be a picture become a frame, or one of the errors that says why they do not.

Knows no task and no network. Strangers choose these bytes, so the order of the checks is the point: how many bytes,
which kind (by content, never by name), which size (from the header, before a single pixel is unpacked), which
features, and only then the pixels.
"""

import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias, cast

import numpy as np
from PIL import BmpImagePlugin, Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from kf2v.errors import FrameError, InvalidFileSize, InvalidImageFormat, InvalidResolution
from kf2v.video import Frame

#: bytes of one frame
MAX_BYTES = 10 * 2**20
#: pixels of one side
MIN_SIDE, MAX_SIDE = 360, 2000

#: Scans of one JPEG. Encoders write about ten; each costs a pass over the whole picture (2.5 ms measured at
#: 2000×2000) for as little as 14 bytes, so that 10 MB of them would keep a worker busy for half an hour.
MAX_SCANS = 100

Opened: TypeAlias = ImageFile.ImageFile

#: EXIF orientation to what undoes it (CIPA DC-008, tag 0x0112)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112

#: ICC colour space signatures to the mode whose numbers they give a meaning
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file that frames may have."""

    name: str
    magic: re.Pattern[bytes]
    #: reads the header only; unlike ``Image.open`` it tells the size of a bomb instead of refusing to look at it
    open: Callable[[BytesIO], Opened]
    #: what must hold before even ``open`` may look
    check: Callable[[bytes], None]


def decode(data: bytes) -> Frame:
    """The picture in ``data``, upright, in sRGB. Raises InvalidFileSize, InvalidImageFormat or InvalidResolution.

    Colour profiles are applied and 16 bits are scaled to 8. PNG's gAMA and cHRM are not applied.
    """
    if len(data) > MAX_BYTES:
        raise InvalidFileSize(f"{InvalidFileSize.sentence} It has {len(data) / 2**20:.2f} MB.")
    kind = recognise(data)
    kind.check(data)
    with _one_of_ours(f"It begins like a {kind.name} file but is damaged or incomplete."), _silence():
        image = kind.open(BytesIO(data))
        check_size(*image.size)
        _check_features(image, kind)
        image.load()
        return np.ascontiguousarray(_upright(_in_srgb(image), _orientation(image)), dtype=np.uint8)


def recognise(data: bytes) -> Kind:
    """What kind of file ``data`` begins like. Raises InvalidImageFormat."""
    for kind in KINDS:
        if kind.magic.match(data):
            return kind
    seen = next((name for name, magic in _REFUSED if magic.match(data)), None)
    came = "It is empty" if not data else f"It looks like {seen}" if seen else "It is none of these"
    raise _no_picture(f"JPEG, PNG, BMP and WEBP are accepted. {came}.")


def check_size(width: int, height: int) -> None:
    """Raises InvalidResolution unless a frame may be that large."""
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        detail = f"It is {width}x{height}; both sides must be {MIN_SIDE} to {MAX_SIDE} pixels."
        raise InvalidResolution(f"{InvalidResolution.sentence} {detail}")


def _check_features(image: Opened, kind: Kind) -> None:
    if kind.name != "JPEG" and getattr(image, "n_frames", 1) > 1:  # a phone's JPEG may carry previews
        raise _no_picture(f"It is an animated {kind.name}; a frame is a single picture.")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        raise _no_picture(f"It is a {kind.name} with an alpha channel; transparency is not supported.")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Any opaque picture as 8-bit RGB, through its colour profile if it has a fitting one."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if isinstance(profile, bytes):
        image = _through_profile(image, profile)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled and rounded: 65535 is 257 · 255. Pillow's own conversion clips at 255 instead."""
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((wide.clip(max=65535) + 128) // 257).astype(np.uint8))


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """``image`` in sRGB; as it is if the profile is broken or means another kind of numbers, as browsers do."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        opened = cast("Any", source.profile)  # Pillow leaves its colour engine without types
        mode = _PROFILE_MODES.get(opened.xcolor_space.strip())
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if mode != image.mode:
            return image
        converted = ImageCms.profileToProfile(
            image,
            source,
            cast("Any", ImageCms.createProfile("sRGB")),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; a picture whose EXIF cannot be read is taken as it is."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001  Pillow promises nothing about damaged EXIF, and the picture does not need it
        return None


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _check_jpeg(data: bytes) -> None:
    scans = 0
    position = 2
    while marker := _JPEG_MARKER.search(data, position):
        code = marker[1][0]
        position = marker.end()
        if code == _END_OF_IMAGE:
            return
        scans += code == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise _no_picture(f"It is a JPEG of more than {MAX_SCANS} scans.")
        position += int.from_bytes(data[position : position + 2])  # a segment's length counts itself


def _check_webp(data: bytes) -> None:
    """The canvas size, by hand: WEBP's decoder allocates its canvas while it is being opened."""
    form, head = data[12:16], data[20:30].ljust(10, b"\0")
    if form == b"VP8X":
        width, height = 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    elif form == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    check_size(width, height)


def _nothing(data: bytes) -> None:
    """Nothing has to hold."""
    del data


#: the kinds accepted, each by the bytes it begins with
KINDS = (
    Kind(name="JPEG", magic=re.compile(rb"\xff\xd8\xff"), open=JpegImagePlugin.JpegImageFile, check=_check_jpeg),
    Kind(name="PNG", magic=re.compile(rb"\x89PNG\r\n\x1a\n"), open=PngImagePlugin.PngImageFile, check=_nothing),
    Kind(name="BMP", magic=re.compile(rb"BM"), open=BmpImagePlugin.BmpImageFile, check=_nothing),
    Kind(
        name="WEBP",
        magic=re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL),
        open=WebPImagePlugin.WebPImageFile,
        check=_check_webp,
    ),
)

#: what people send instead, told by name
_REFUSED = (
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("HEIC or AVIF", re.compile(rb".{4}ftyp(?:hei|hev|mif|msf|avi)", re.DOTALL)),
    ("MP4", re.compile(rb".{4}ftyp", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    ("PDF", re.compile(rb"%PDF")),
    ("SVG", re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg", re.DOTALL)),
    ("HTML", re.compile(rb"\s*<(?:!doctype html|html|head)", re.IGNORECASE)),
    ("JSON", re.compile(rb"\s*[{\[]\s*[\"{\[]")),
    ("plain text", re.compile(rb"[\w\s]{5,}")),
)


def _no_picture(detail: str) -> InvalidImageFormat:
    return InvalidImageFormat(f"{InvalidImageFormat.sentence} {detail}")


@contextmanager
def _one_of_ours(otherwise: str) -> Generator[None]:
    """Whatever the decoders raise on hostile bytes (they promise nothing), told as a damaged file."""
    try:
        yield
    except (FrameError, MemoryError):
        raise
    except Exception as error:
        raise _no_picture(otherwise) from error


@contextmanager
def _silence() -> Generator[None]:
    """Pillow's remarks about damaged EXIF and odd APNG are of no use to anyone here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
