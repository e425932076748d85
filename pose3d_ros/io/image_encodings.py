# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Image messages as arrays, viewed in place where the encoding allows it, without ROS.

A message is whatever has the attributes of a sensor_msgs/Image or CompressedImage. What it says of
itself is checked before numpy or OpenCV sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError, one_line

MAX_PIXELS = 100_000_000  # more than any camera has, and 300 MB
BIT_DEPTHS = (10, 12, 14, 16)  # of the samples in 16-bit images
NO_SAMPLE = 0xFFFF  # how some drivers mark a pixel that has no value
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Neither compression can do more: deflate turns a byte into at most 1032, JPEG spends a bit or
# more on each block of 64 samples.
_DEFLATE_RATIO, _JPEG_PIXELS_PER_BYTE = 1032, 1024
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type
_PNG_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}

Image = npt.NDArray[np.uint8]


class ImageError(Pose3dError, ValueError):
    """A message that is not the image that it says it is."""


class BitDepth:
    """Bits that the 16-bit samples of one camera use: the most in any of its images so far, so
    that brightness does not change from image to image.
    """

    def __init__(self) -> None:
        self.bits = 0

    def __call__(self, samples: npt.NDArray[np.uint16]) -> int:
        """Bits after these samples too."""
        self.bits = max(self.bits, significant_bits(samples))
        return self.bits


def significant_bits(samples: npt.NDArray[np.uint16]) -> int:
    """The least of ``BIT_DEPTHS`` that holds all samples, ``NO_SAMPLE`` excepted."""
    highest = int(samples.max(initial=0))
    if highest == NO_SAMPLE:
        highest = int(samples.max(initial=0, where=samples != NO_SAMPLE))
    return next(bits for bits in BIT_DEPTHS if highest < 1 << bits)


def to_eight_bits(samples: npt.NDArray[np.uint16], depth: BitDepth | None = None) -> Image:
    """The upper eight of the bits that samples use, according to them or to the ``depth`` of their
    camera.
    """
    bits = depth(samples) if depth is not None else significant_bits(samples)
    image: Image = np.minimum(samples >> (bits - 8), 255).astype(np.uint8)
    return image


def is_nearly_black(image_bgr: Image) -> bool:
    """Whether hardly a pixel of an image (H, W, 3) is brighter than a tenth of white."""
    return float(np.quantile(image_bgr[::8, ::8], 0.99)) < 26


class Layout(NamedTuple):
    """Memory layout of an encoding: type of a sample, samples per pixel, rows per image row, and
    the way to BGR from samples of eight bits.
    """

    dtype: str
    channels: int
    to_bgr: Callable[[np.ndarray], np.ndarray]
    rows: float = 1.0


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _cvt(code: int, pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, code)


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's
# first two.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}
_UYVY = Layout("u1", 2, partial(_cvt, cv2.COLOR_YUV2BGR_UYVY))
_YUYV = Layout("u1", 2, partial(_cvt, cv2.COLOR_YUV2BGR_YUY2))
_GRAY = Layout("u1", 1, partial(_cvt, cv2.COLOR_GRAY2BGR))
_GRAY16 = Layout("u2", 1, partial(_cvt, cv2.COLOR_GRAY2BGR))
_BGRA = Layout("u1", 4, partial(_cvt, cv2.COLOR_BGRA2BGR))
ENCODINGS = {
    "bgr8": Layout("u1", 3, _as_is),
    "8UC3": Layout("u1", 3, _as_is),
    "rgb8": Layout("u1", 3, partial(_cvt, cv2.COLOR_RGB2BGR)),
    "bgra8": _BGRA,
    "8UC4": _BGRA,
    "rgba8": Layout("u1", 4, partial(_cvt, cv2.COLOR_RGBA2BGR)),
    "mono8": _GRAY,
    "8UC1": _GRAY,
    "mono16": _GRAY16,
    "16UC1": _GRAY16,
    "bgr16": Layout("u2", 3, _as_is),
    "rgb16": Layout("u2", 3, partial(_cvt, cv2.COLOR_RGB2BGR)),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Layout("u1", 1, partial(_cvt, cv2.COLOR_YUV2BGR_NV12), 1.5),
    "nv21": Layout("u1", 1, partial(_cvt, cv2.COLOR_YUV2BGR_NV21), 1.5),
    **{f"bayer_{name}8": Layout("u1", 1, partial(_cvt, code)) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Layout("u2", 1, partial(_cvt, code)) for name, code in _BAYER.items()},
}
_DEPTH = {
    "16UC1": Layout("u2", 1, _as_is),
    "mono16": Layout("u2", 1, _as_is),
    "32FC1": Layout("f4", 1, _as_is),
}


def _view(message: Any, layout: Layout) -> np.ndarray:
    """The samples (rows, W) or (rows, W, C) where they lie in the message; ``ImageError`` when
    they cannot be there.
    """
    width, height, step = int(message.width), int(message.height), int(message.step)
    what = f"{width}x{height} {message.encoding} image"
    if width < 1 or height < 1:
        raise ImageError(
            f"expected an image with pixels, got a {what}: the camera delivers nothing"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(f"{what}: expected at most {MAX_PIXELS} pixels")
    sample = np.dtype(layout.dtype).itemsize
    row_bytes, rows = width * layout.channels * sample, int(height * layout.rows)
    if message.encoding.startswith("bayer") and min(width, height) < 2:
        raise ImageError(
            f"{what}: expected at least 2x2 pixels, the size of the pattern; the publisher's "
            "width, height or encoding is wrong"
        )
    if step < row_bytes:
        raise ImageError(
            f"{what}: expected a step of at least {row_bytes} bytes, got {step}; the publisher "
            "must fill in Image.step"
        )
    if len(message.data) < (rows - 1) * step + row_bytes:
        raise ImageError(
            f"{what} of step {step}: expected {rows * step} bytes of data, got "
            f"{len(message.data)}; the publisher's height, step or encoding is wrong"
        )
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    shape, strides = (rows, width, layout.channels), (step, layout.channels * sample, sample)
    pixels: np.ndarray = np.ndarray(shape, dtype, message.data, 0, strides)
    return pixels[..., 0] if layout.channels == 1 else pixels


def to_bgr(message: Any, depth: BitDepth | None = None) -> Image:
    """(H, W, 3) uint8 BGR image of an Image in one of ``ENCODINGS``; a view of its data where that
    is bgr8.

    Of 16-bit samples the upper eight of those bits that are used are kept; the ``depth`` of the
    camera keeps them the same from image to image. Raises ``ImageError``.
    """
    layout = ENCODINGS.get(message.encoding)
    if layout is None:
        raise ImageError(
            f"expected an encoding among {', '.join(ENCODINGS)}, got '{message.encoding[:40]}'; "
            f"publish bgr8"
        )
    pixels = _view(message, layout)
    if layout.dtype == "u2":
        pixels = to_eight_bits(pixels, depth)
    try:
        return layout.to_bgr(pixels)
    except cv2.error as error:
        raise ImageError(
            f"{message.width}x{message.height} {message.encoding} image: not a size that this "
            f"encoding can have ({error.err}); publish bgr8"
        ) from None


def compressed_to_bgr(message: Any, depth: BitDepth | None = None) -> Image:
    """(H, W, 3) uint8 BGR image of a JPEG or PNG, 16-bit samples as ``to_bgr`` has them. Raises
    ``ImageError``.
    """
    try:
        return decoded(np.frombuffer(message.data, np.uint8), depth, cv2.IMREAD_IGNORE_ORIENTATION)
    except ImageError as error:
        raise ImageError(
            f"expected a JPEG or PNG, got {len(message.data)} bytes of format "
            f"'{message.format[:40]}': {error}; see the publisher of the compressed image"
        ) from None


def decoded(data: npt.NDArray[np.uint8], depth: BitDepth | None = None, flags: int = 0) -> Image:
    """(H, W, 3) uint8 BGR image of the bytes of a JPEG or PNG, after a look at its size and
    structure; ``flags``: more of OpenCV's ``IMREAD_``. Raises ``ImageError``.
    """
    start = data[:8].tobytes()
    if start.startswith(_PNG):
        data = _checked_png(data)
    elif start.startswith(_JPEG):
        _check_jpeg(data.tobytes())
    else:
        raise ImageError(f"it begins with {start.hex(' ') or 'nothing'}, as neither does")
    image = _imdecode(data, flags)
    if image is None:
        raise ImageError("it cannot be decoded")
    return to_eight_bits(image, depth) if image.dtype == np.uint16 else image


def read_image(path: Path, depth: BitDepth | None = None) -> Image:
    """(H, W, 3) uint8 BGR image of a file of any kind that OpenCV reads, upright. Raises
    ``ImageError``.
    """
    try:
        data = np.fromfile(path, np.uint8)
        if data[:8].tobytes().startswith((_JPEG, _PNG)):
            return decoded(data, depth)
    except (OSError, ImageError) as error:
        raise ImageError(f"{path} cannot be decoded as an image: {one_line(error)}") from None
    image = _imdecode(data, 0) if len(data) else None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{path} cannot be decoded as an image: expected one of 8 or 16 bits that OpenCV reads"
        )
    return to_eight_bits(image, depth) if image.dtype == np.uint16 else image


def _imdecode(data: npt.NDArray[np.uint8], flags: int) -> npt.NDArray[Any] | None:
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def _check_pixels(width: int, height: int, most: int) -> None:
    if not 0 < width * height <= min(MAX_PIXELS, most):
        raise ImageError(
            f"its header says {width}x{height} pixels, expected at most "
            f"{min(MAX_PIXELS, most)} in so many bytes"
        )


def _checked_png(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The PNG with those chunks only that its pixels need, each within the data (ISO 15948)."""
    png = data.tobytes()
    kept, at = [_PNG], len(_PNG)
    kinds: list[bytes] = []
    while at < len(png) and (not kinds or kinds[-1] != b"IEND"):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(png):
            raise ImageError(
                f"it ends within the chunk {kind.decode('ascii', 'replace')} of {length} bytes"
            )
        kinds.append(kind)
        if kind in _PNG_NEEDED:
            kept.append(png[at:end])
        at = end
    if kinds[:1] != [b"IHDR"] or len(kept[1]) != 25 or kinds[-1] != b"IEND":
        raise ImageError("expected the chunks IHDR, first, of 13 bytes, and IEND, last")
    width, height = int.from_bytes(kept[1][8:12], "big"), int.from_bytes(kept[1][12:16], "big")
    bits = kept[1][16] * _PNG_CHANNELS.get(kept[1][17], 0)
    if not bits:
        raise ImageError(f"its colour type {kept[1][17]} does not exist")
    _check_pixels(width, height, len(png) * _DEFLATE_RATIO * 8 // bits)
    return np.frombuffer(b"".join(kept), np.uint8)


def _check_jpeg(jpeg: bytes) -> None:
    """Raise ``ImageError`` unless a JPEG tells a size that its bytes can hold, and has an end (ITU
    T.81, B).
    """
    at = 2
    size = None
    while True:
        while jpeg[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 4 > len(jpeg) or jpeg[at] != 0xFF:
            raise ImageError("it ends, or has no marker, before its pixels")
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            if size is not None or at + 9 > len(jpeg):
                raise ImageError("expected one header with its size")
            size = (
                int.from_bytes(jpeg[at + 7 : at + 9], "big"),
                int.from_bytes(jpeg[at + 5 : at + 7], "big"),
            )
            _check_pixels(*size, len(jpeg) * _JPEG_PIXELS_PER_BYTE)
        at += 2 + length
        if marker == 0xDA:  # start of scan
            break
    if size is None:
        raise ImageError("expected a header with its size before its pixels")
    if jpeg.find(b"\xff\xd9", at) < 0:
        raise ImageError("it was cut off before its end")


def to_depth_m(message: Any) -> np.ndarray:
    """(H, W) float32 metres of a REP-118 depth image: 16UC1 in millimetres or 32FC1 in metres; NaN
    where unknown (0, NaN, inf, and 0xFFFF, which many drivers mean nothing by). Raises
    ``ImageError``.
    """
    layout = _DEPTH.get(message.encoding)
    if layout is None:
        raise ImageError(
            f"expected a depth image of encoding 16UC1 (mm) or 32FC1 (m), got '{message.encoding}'"
        )
    samples = _view(message, layout)
    depth = samples.astype(np.float32)
    if layout.dtype == "u2":
        depth *= 0.001
        depth[samples == 0xFFFF] = np.nan
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth
