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

"""The converter: a network made by hand against plain numpy, and BlazePose against TFLite's own
answers.
"""

from __future__ import annotations

import numpy as np
import pytest
from tiny_tflite import BEFORE_RESIZE, BIAS, OUTPUT, SIDE, WEIGHTS, tiny_tflite

from pose3d_ros import inference
from pose3d_ros.errors import ConversionError
from pose3d_ros.model_store.store import ModelError, locate
from pose3d_ros.model_store.tflite_to_onnx import convert


def by_hand(images: np.ndarray, low: float) -> np.ndarray:
    """The tiny network on (N, 6, 6, 3) uint8 BGR images, before its resize: (N, 4, 3, 3)."""
    pixels = images[..., ::-1] * (1 - low) / 255 + low
    padded = np.pad(pixels, ((0, 0), (0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    sums = np.einsum("nyxchw,ohwc->noyx", windows, WEIGHTS.astype(float)) + BIAS[:, None, None]
    return np.clip(sums, 0, 6)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_pixels_padding_float16_and_relu6(tmp_path, low):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(convert(tiny_tflite(), {"conv": BEFORE_RESIZE, "resized": OUTPUT}, low))
    images = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    outputs = inference.load(path, "cpu")({"image": images})
    expected = by_hand(images, low)
    assert 0 < (expected == 0).mean() < 0.9  # the activation is exercised
    np.testing.assert_allclose(outputs["conv"], expected, atol=1e-5)
    # Half-pixel bilinear to twice the size: a quarter of the way between neighbours, edges
    # repeated.
    edge = np.pad(expected, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    rows = np.stack(
        [
            0.25 * edge[:, :, :-2] + 0.75 * edge[:, :, 1:-1],
            0.75 * edge[:, :, 1:-1] + 0.25 * edge[:, :, 2:],
        ],
        3,
    ).reshape(5, 4, 6, 3)
    edge = np.pad(rows, ((0, 0), (0, 0), (0, 0), (1, 1)), mode="edge")
    both = np.stack(
        [
            0.25 * edge[..., :-2] + 0.75 * edge[..., 1:-1],
            0.75 * edge[..., 1:-1] + 0.25 * edge[..., 2:],
        ],
        4,
    ).reshape(5, 4, 6, 6)
    np.testing.assert_allclose(outputs["resized"], both, atol=1e-5)


def test_only_what_the_outputs_need_is_converted():
    assert b"Resize" not in convert(tiny_tflite(), {"conv": BEFORE_RESIZE})


def test_the_same_bytes_every_time():
    assert convert(tiny_tflite(), {"y": OUTPUT}) == convert(tiny_tflite(), {"y": OUTPUT})


@pytest.mark.parametrize("junk", [b"", b"not a model at all, but long enough to look at"])
def test_junk_is_refused(junk):
    with pytest.raises(ConversionError, match="expected a TFLite model"):
        convert(junk, {"y": 0})


# Mean and standard deviation of each output that the TFLite interpreter (ai-edge-litert 2.3.0)
# gives for `pattern`.
TFLITE = {
    "blazepose-full": {
        "landmarks": (43.8556, 68.1413),
        "presence": (0.0205373, 0.0),
        "heatmap": (-6.17814, 3.72289),
        "features0": (0.430887, 1.14478),
        "features1": (0.398778, 1.06021),
        "features2": (0.348482, 0.554905),
        "features3": (-0.833259, 19.5096),
    },
}


def pattern(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack([x * 255 // side, y * 255 // side, x * y % 256], -1).astype(np.uint8)


@pytest.mark.parametrize("name", TFLITE)
def test_blazepose_answers_as_tflite_does(name):
    try:
        engine = inference.load(locate(name), "cpu")
    except ModelError as error:
        pytest.skip(str(error))
    side = engine.inputs["image"][1]
    assert side is not None
    other = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    outputs = engine({"image": np.stack([other, pattern(side)])})
    assert set(outputs) == set(TFLITE[name])
    for output, (mean, deviation) in TFLITE[name].items():
        np.testing.assert_allclose(
            [outputs[output][1].mean(), outputs[output][1].std()],
            [mean, deviation],
            rtol=2e-4,
            atol=1e-4,
            err_msg=output,
        )
