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

"""Small videos of flat pictures, made with the encoders that PyAV brings."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (96, 64)
MS = Fraction(1, 1000)


def flat(number: int) -> np.ndarray:
    """A (64, 96, 3) picture whose gray tells its number, 0 to 23."""
    return np.full((SIZE[1], SIZE[0], 3), 20 + 10 * number, np.uint8)


def number_of(image: np.ndarray) -> int:
    """Inverse of ``flat``, whatever the codec did."""
    return round((float(image.mean()) - 20) / 10)


def write_clip(
    path: Path,
    times_ms: Sequence[int],
    codec: str = "libx264",
    images: Sequence[np.ndarray] | None = None,
    aspect: Fraction | None = None,
    container_format: str | None = None,
    rate: int = 25,
    live: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """A clip of ``flat`` pictures, or of ``images``, each at its own time.

    ``live``: WebM without a length.
    """
    av: Any = __import__("av")
    how = {"live": "1"} if live else {}
    with av.open(str(path), "w", format=container_format, container_options=how) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = SIZE if images is None else images[0].shape[1::-1]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = MS if codec != "mpeg2video" else Fraction(1, rate)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, time_ms in enumerate(times_ms):
            image = flat(number % 24) if images is None else images[number]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.time_base = MS
            frame.pts = time_ms
            if codec == "mpeg2video":
                frame.time_base = Fraction(1, rate)
                frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
