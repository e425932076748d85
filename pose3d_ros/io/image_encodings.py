"""Image messages as arrays, viewed in place where the encoding allows it, without ROS.

A message is whatever has the attributes of a sensor_msgs/Image or CompressedImage.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np


class ImageError(ValueError):
    """A message that is not the image that it says it is."""


class Layout(NamedTuple):
    """How an encoding lies in memory: type of a sample, samples per pixel, rows per image row, and
    the way to BGR.
    """

    dtype: str
    channels: int
    to_bgr: Callable[[np.ndarray], np.ndarray]
    rows: float = 1.0


def _as_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _cvt(code: int, pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, code)


def _cvt16(code: int | None, pixels: np.ndarray) -> np.ndarray:
    eight = (pixels >> 8).astype(np.uint8)
    return eight if code is None else cv2.cvtColor(eight, code)


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
_GRAY16 = Layout("u2", 1, partial(_cvt16, cv2.COLOR_GRAY2BGR))
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
    "bgr16": Layout("u2", 3, partial(_cvt16, None)),
    "rgb16": Layout("u2", 3, partial(_cvt16, cv2.COLOR_RGB2BGR)),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Layout("u1", 1, partial(_cvt, cv2.COLOR_YUV2BGR_NV12), 1.5),
    "nv21": Layout("u1", 1, partial(_cvt, cv2.COLOR_YUV2BGR_NV21), 1.5),
    **{f"bayer_{name}8": Layout("u1", 1, partial(_cvt, code)) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Layout("u2", 1, partial(_cvt16, code)) for name, code in _BAYER.items()},
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
    width, height, step = message.width, message.height, message.step
    what = f"{width}x{height} {message.encoding} image"
    if width == 0 or height == 0:
        raise ImageError(
            f"expected an image with pixels, got a {what}: the camera delivers nothing"
        )
    sample = np.dtype(layout.dtype).itemsize
    row_bytes, rows = width * layout.channels * sample, int(height * layout.rows)
    if message.encoding.startswith("bayer") and min(width, height) < 2:
        raise ImageError(
            f"{what}: expected at least 2x2 pixels, the size of the pattern; the publisher's "
            f"width, "
            f"height or encoding is wrong"
        )
    if step < row_bytes:
        raise ImageError(
            f"{what}: expected a step of at least {row_bytes} bytes, got {step}; the publisher "
            f"must fill "
            f"in Image.step"
        )
    if len(message.data) < (rows - 1) * step + row_bytes:
        raise ImageError(
            f"{what} of step {step}: expected {rows * step} bytes of data, got "
            f"{len(message.data)}; "
            f"the publisher's height, step or encoding is wrong"
        )
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    shape, strides = (rows, width, layout.channels), (step, layout.channels * sample, sample)
    pixels: np.ndarray = np.ndarray(shape, dtype, message.data, 0, strides)
    return pixels[..., 0] if layout.channels == 1 else pixels


def to_bgr(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 BGR picture of an Image in one of ``ENCODINGS``; a view of its data where
    that is bgr8.

    Sixteen-bit samples keep their upper eight bits. Raises ``ImageError``.
    """
    layout = ENCODINGS.get(message.encoding)
    if layout is None:
        raise ImageError(
            f"expected an encoding among {', '.join(ENCODINGS)}, got '{message.encoding}'; "
            f"publish bgr8"
        )
    try:
        return layout.to_bgr(_view(message, layout))
    except cv2.error as error:
        raise ImageError(
            f"{message.width}x{message.height} {message.encoding} image: not a size that this "
            f"encoding "
            f"can have ({error.err}); publish bgr8"
        ) from None


def compressed_to_bgr(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 BGR picture of a JPEG or PNG. Raises ``ImageError``."""
    data = np.frombuffer(message.data, np.uint8)
    image = (
        cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    )
    if image is None:
        raise ImageError(
            f"expected a JPEG or PNG, got {len(data)} bytes of format '{message.format}' that "
            f"cannot be "
            f"decoded; see the publisher of the compressed image"
        )
    return image


def to_depth_m(message: Any) -> np.ndarray:
    """(H, W) float32 metres of a REP-118 depth image: 16UC1 in millimetres or 32FC1 in metres; NaN
    where unknown.
    """
    layout = _DEPTH.get(message.encoding)
    if layout is None:
        raise ImageError(
            f"expected a depth image of encoding 16UC1 (mm) or 32FC1 (m), got '{message.encoding}'"
        )
    depth = _view(message, layout).astype(np.float32)
    if layout.dtype == "u2":
        depth *= 0.001
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth
