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

"""Every encoding gives the picture that was encoded; every malformed image one line that says what
is wrong.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import types
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 messages")
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.io.image_encodings import (
    ENCODINGS,
    BitDepth,
    ImageError,
    compressed_to_bgr,
    is_nearly_black,
    to_depth_m,
)
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.image_messages import to_bgr, to_compressed_message, to_message

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GRAY = PICTURE[..., 0]
BLUE, GREEN, RED = 200, 120, 40
FLAT = np.full((8, 10, 3), (BLUE, GREEN, RED), np.uint8)


@pytest.fixture(autouse=True)
def cv_bridge_not_tried() -> None:
    image_messages._cv_bridge.cache_clear()


def message(
    pixels: np.ndarray, encoding: str, width: int, height: int, padding: int = 0, big: bool = False
) -> Image:
    """Image whose rows are those of ``pixels`` (rows, ...), each followed by ``padding`` bytes of
    noise.
    """
    dtype = pixels.dtype.newbyteorder(">" if big else "<")
    rows = np.ascontiguousarray(pixels.astype(dtype)).view(np.uint8).reshape(len(pixels), -1)
    noise = np.random.default_rng(1).integers(0, 256, (len(rows), padding), np.uint8)
    data = np.hstack([rows, noise])
    return Image(
        width=width,
        height=height,
        encoding=encoding,
        step=data.shape[1],
        is_bigendian=big,
        data=data.tobytes(),
    )


def mosaic(pattern: str, dtype: type = np.uint8) -> np.ndarray:
    """Bayer samples of ``FLAT``."""
    value = {"b": BLUE, "g": GREEN, "r": RED}
    tile: np.ndarray = np.array(
        [[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], dtype
    )
    return np.tile(tile, (FLAT.shape[0] // 2, FLAT.shape[1] // 2))


def yuv() -> tuple[int, int, int]:
    """``FLAT``'s colour in the studio-range BT.601 of ITU-R BT.601, rounded."""
    r, g, b = RED / 255, GREEN / 255, BLUE / 255
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return round(y), round(u), round(v)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("bgr8", PICTURE, PICTURE),
        ("8UC3", PICTURE, PICTURE),
        ("rgb8", PICTURE[..., ::-1], PICTURE),
        ("bgra8", np.dstack([PICTURE, GRAY]), PICTURE),
        ("8UC4", np.dstack([PICTURE, GRAY]), PICTURE),
        ("rgba8", np.dstack([PICTURE[..., ::-1], GRAY]), PICTURE),
        ("mono8", GRAY, np.dstack([GRAY] * 3)),
        ("8UC1", GRAY, np.dstack([GRAY] * 3)),
    ],
)
def test_eight_bit_encodings_are_exact(
    encoding: str, pixels: np.ndarray, expected: np.ndarray, padding: int
) -> None:
    assert np.array_equal(to_bgr(message(pixels, encoding, 8, 6, padding)), expected)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("mono16", GRAY, np.dstack([GRAY] * 3)),
        ("16UC1", GRAY, np.dstack([GRAY] * 3)),
        ("bgr16", PICTURE, PICTURE),
        ("rgb16", PICTURE[..., ::-1], PICTURE),
    ],
)
def test_sixteen_bit_encodings_keep_the_upper_byte(
    encoding: str, pixels: np.ndarray, expected: np.ndarray, padding: int, big: bool
) -> None:
    samples = pixels.astype(np.uint16) * 256 + 77
    assert np.array_equal(to_bgr(message(samples, encoding, 8, 6, padding, big)), expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 6])
def test_bayer_patterns_of_one_colour_give_that_colour(pattern: str, padding: int) -> None:
    eight = to_bgr(message(mosaic(pattern), f"bayer_{pattern}8", 10, 8, padding))
    sixteen = to_bgr(
        message(mosaic(pattern, np.uint16) * 256, f"bayer_{pattern}16", 10, 8, padding, big=True)
    )
    assert np.array_equal(eight, FLAT)
    assert np.array_equal(sixteen, FLAT)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"])
def test_yuv_encodings(encoding: str, padding: int) -> None:
    y, u, v = yuv()
    if encoding in ("nv12", "nv21"):
        chroma = (u, v) if encoding == "nv12" else (v, u)
        pixels = np.vstack(
            [np.full((8, 10), y, np.uint8), np.tile(np.array(chroma, np.uint8), (4, 5))]
        )
    else:
        pixels = np.tile(
            np.array([u, y, v, y] if encoding in ("uyvy", "yuv422") else [y, u, y, v], np.uint8),
            (8, 5),
        )
    image = to_bgr(message(pixels, encoding, 10, 8, padding))
    assert image.shape == FLAT.shape
    assert np.abs(image.astype(int) - FLAT).max() <= 2  # Y, U and V were rounded to whole numbers


def test_bgr8_is_a_view_of_the_message() -> None:
    sent = message(PICTURE, "bgr8", 8, 6)
    image = to_bgr(sent)
    sent.data[0] = (sent.data[0] + 1) % 256
    assert image[0, 0, 0] == sent.data[0]


def test_a_picture_survives_the_way_there_and_back() -> None:
    assert np.array_equal(to_bgr(to_message(PICTURE[:, ::-1], Header())), PICTURE[:, ::-1])


def test_jpeg_and_png() -> None:
    smooth = cv2.resize(PICTURE, (64, 48), interpolation=cv2.INTER_CUBIC)
    jpeg = to_compressed_message(smooth, Header())
    assert jpeg.format == "bgr8; jpeg compressed bgr8"
    assert np.abs(compressed_to_bgr(jpeg).astype(int) - smooth).mean() < 4  # JPEG of quality 95
    png = CompressedImage(format="png", data=cv2.imencode(".png", PICTURE)[1].tobytes())
    assert np.array_equal(compressed_to_bgr(png), PICTURE)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 4])
def test_depth_in_millimetres_and_metres(big: bool, padding: int) -> None:
    # 0 and the largest number both mean that nothing was measured.
    millimetres = np.array([[0, 500], [1250, 65534], [65535, 1]], np.uint16)
    expected = np.array([[np.nan, 0.5], [1.25, 65.534], [np.nan, 0.001]], np.float32)
    assert np.allclose(
        to_depth_m(message(millimetres, "16UC1", 2, 3, padding, big)), expected, equal_nan=True
    )
    metres = np.array([[np.nan, 0.5], [np.inf, -1]], np.float32)
    expected = np.array([[np.nan, 0.5], [np.nan, np.nan]], np.float32)
    assert np.array_equal(
        to_depth_m(message(metres, "32FC1", 2, 2, padding, big)), expected, equal_nan=True
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            Image(width=0, height=6, encoding="bgr8", step=0),
            ("expected an image with pixels", "0x6"),
        ),
        (
            Image(width=8, height=0, encoding="bgr8", step=24),
            ("expected an image with pixels", "8x0"),
        ),
        (
            Image(width=8, height=6, encoding="bgr8", step=8, data=bytes(144)),
            ("at least 24 bytes", "got 8", "step"),
        ),
        (
            Image(width=8, height=6, encoding="bgr8", step=24, data=bytes(143)),
            ("expected 144 bytes", "got 143"),
        ),
        (
            Image(width=8, height=6, encoding="nv12", step=8, data=bytes(48)),
            ("expected 72 bytes", "got 48"),
        ),
        (
            Image(width=3, height=3, encoding="uyvy", step=6, data=bytes(18)),
            ("3x3 uyvy", "publish bgr8"),
        ),
    ],
)
def test_malformed_images_are_explained(bad: Image, words: tuple[str, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        to_bgr(bad)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_encoding_without_cv_bridge_names_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(ImageError, match=r"bgr8.*'32FC3'.*cv_bridge.*publish bgr8"):
        to_bgr(Image(width=1, height=1, encoding="32FC3", step=12, data=bytes(12)))


@pytest.fixture
def cv_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of that name for this process and its children: its source is to be written."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [tmp_path, *sys.path])))
    yield tmp_path / "cv_bridge.py"
    sys.modules.pop("cv_bridge", None)


def test_an_image_that_cv_bridge_refuses_does_not_end_its_use(cv_bridge: Path) -> None:
    cv_bridge.write_text(
        "import numpy as np\n"
        "class CvBridge:\n"
        "    def imgmsg_to_cv2(self, sent, encoding):\n"
        "        return np.frombuffer(sent.data, np.uint8).reshape(sent.height, sent.width, 3)\n"
    )
    with pytest.raises(ImageError, match="cannot reshape"):
        to_bgr(Image(width=2, height=1, encoding="odd", step=6, data=bytes(5)))
    image = to_bgr(Image(width=2, height=1, encoding="odd", step=6, data=bytes(6)))
    assert image.shape == (1, 2, 3)


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_compressed_data_that_is_no_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match="expected a JPEG or PNG, got .* bytes of format 'jpeg'"):
        compressed_to_bgr(CompressedImage(format="jpeg", data=data))


def test_depth_of_another_encoding() -> None:
    with pytest.raises(ImageError, match="16UC1.*32FC1.*got 'bgr8'"):
        to_depth_m(message(PICTURE, "bgr8", 8, 6))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16", "png"])
def test_the_bits_that_are_used_are_kept(bits, encoding):
    """A ramp from black to white looks the same however many bits of 16 a camera fills."""
    ramp = np.linspace(0, (1 << bits) - 1, 48 * 64).astype(np.uint16).reshape(48, 64)
    if encoding == "png":
        sent = types.SimpleNamespace(format="png", data=cv2.imencode(".png", ramp)[1].tobytes())
        image = compressed_to_bgr(sent)
    else:
        samples = np.dstack([ramp] * 3) if encoding == "rgb16" else ramp
        image = to_bgr(message(samples, encoding, 64, 48))
    expected = np.linspace(0, 255, 48 * 64).reshape(48, 64)
    assert np.abs(image.mean(2) - expected)[1:-1, 1:-1].max() < 2.5
    assert not is_nearly_black(image)


def test_brightness_does_not_change_from_image_to_image():
    ramp = np.linspace(0, 4000, 48 * 64).astype(np.uint16).reshape(48, 64)
    depth = BitDepth()
    bright = to_bgr(message(ramp, "mono16", 64, 48), depth)
    dark = to_bgr(message(ramp // 8, "mono16", 64, 48), depth)
    assert dark.mean() == pytest.approx(bright.mean() / 8, abs=1)


def test_pixels_without_a_value_do_not_count():
    ramp = np.linspace(0, 4000, 48 * 64).astype(np.uint16).reshape(48, 64)
    ramp[3, 4] = 0xFFFF
    image = to_bgr(message(ramp, "mono16", 64, 48))
    assert image.mean() > 120 and image[3, 4].tolist() == [255, 255, 255]


def test_nearly_black():
    assert is_nearly_black(np.full((48, 64, 3), 9, np.uint8))
    night = np.zeros((480, 640, 3), np.uint8)
    night[100:200, 100:200] = 120  # a window
    assert not is_nearly_black(night)


def png_of(
    width: int, height: int, bits: int = 8, colour: int = 2, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG whose header says so, with the chunks given, each with a right checksum."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), *chunks):
        out += struct.pack(">I", len(data)) + kind + data
        out += struct.pack(">I", zlib.crc32(kind + data))
    return out


IDAT, IEND = (b"IDAT", zlib.compress(bytes(48 * (1 + 3 * 64)))), (b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header says so."""
    data = bytearray(cv2.imencode(".jpg", PICTURE)[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png_of(64, 48, 8, 2, IDAT)[:-4] + b"\xff\xff\xff\xf0IDAT" + bytes(200), "ends within"),
        (png_of(64, 48)[:20] + bytes(9), "."),
        (png_of(60_000, 60_000, 8, 2, IDAT, IEND), "its header says 60000x60000 pixels"),
        (png_of(9_000, 9_000, 8, 2, IDAT, IEND), "its header says 9000x9000 pixels"),
        (png_of(0, 48, 8, 2, IDAT, IEND), "its header says 0x48 pixels"),
        (png_of(64, 48, 8, 5, IDAT, IEND), "colour type 5"),
        (png_of(64, 48, 8, 2, IDAT), "IEND"),
        (jpeg_of(65_000, 65_000), "its header says 65000x65000 pixels"),
        (jpeg_of(9_000, 9_000), "its header says 9000x9000 pixels"),
        (cv2.imencode(".jpg", FLAT)[1].tobytes()[:-2], "cut off before its end"),
        (cv2.imencode(".jpg", FLAT)[1].tobytes()[:100], "before its pixels"),
        (b"\xff\xd8\xff", "."),
        (cv2.imencode(".bmp", FLAT)[1].tobytes(), "begins with 42 4d"),
        (cv2.imencode(".tiff", FLAT)[1].tobytes(), "as neither does"),
        (b"", "begins with nothing"),
    ],
)
def test_compressed_images_are_looked_at_before_they_are_decoded(data, words):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = types.SimpleNamespace(format="png", data=data)
    with pytest.raises(ImageError, match=words) as error:
        compressed_to_bgr(sent)
    assert "\n" not in str(error.value) and "see the publisher" in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_what_a_picture_needs_not_is_not_decoded():
    """A text chunk that unpacks to 64 MB, and the frames of an animation."""
    bomb = (b"zTXt", b"comment\0\0" + zlib.compress(bytes(64_000_000), 9))
    animation = (b"acTL", struct.pack(">II", 2, 0))
    data = png_of(64, 48, 8, 2, bomb, animation, IDAT, IEND)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = compressed_to_bgr(types.SimpleNamespace(format="png", data=data))
    assert image.shape == (48, 64, 3) and not image.any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("size", [(1, 1), (17, 3), (2000, 1500)])
def test_the_plainest_pictures_are_decoded(suffix, size):
    """A picture of one colour is as small as its compression allows."""
    black = np.zeros((size[1], size[0], 3), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 1] if suffix == ".jpg" else []
    data = cv2.imencode(suffix, black, quality)[1].tobytes()
    image = compressed_to_bgr(types.SimpleNamespace(format=suffix, data=data))
    assert image.shape == black.shape and image.max() <= 1


def test_random_images_are_pictures_or_one_line():
    """Numbers of every size in every place, with a fixed seed."""
    rng = np.random.default_rng(2)
    values = [0, 1, 2, 3, 64, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
    files = [cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".jpg", ".png")]
    for trial in range(2000):
        sizes = rng.choice(values, 3).tolist()
        sent = types.SimpleNamespace(
            width=sizes[0],
            height=sizes[1],
            step=sizes[2],
            encoding=str(rng.choice(list(ENCODINGS))),
            is_bigendian=int(rng.integers(2)),
            data=rng.bytes(int(rng.integers(0, 300))),
        )
        broken = bytearray(files[trial % 2])
        for at in rng.integers(0, len(broken), 3):
            broken[at] = rng.integers(256)
        file = types.SimpleNamespace(format="?", data=bytes(broken[: rng.integers(len(broken))]))
        for decode, of in ((to_bgr, sent), (compressed_to_bgr, file)):
            try:
                assert decode(of).shape[2] == 3
            except ImageError as error:
                assert "\n" not in str(error)
