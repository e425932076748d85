"""The pictures of video files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np


def frames(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Images and stamps in nanoseconds of a video; ``ValueError`` when it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not capture.isOpened() or rate <= 0:
            raise ValueError(f"video {path}: expected a video that OpenCV can read")
        number = 0
        while True:
            ok, image = capture.read()
            if not ok:
                return
            number += 1
            yield image, round(number / rate * 1e9)
    finally:
        capture.release()
