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

"""The converter of TensorFlow.js graphs: a graph made by hand against plain numpy."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx")
import onnxruntime as ort  # noqa: E402

from pose3d_ros.errors import ConversionError  # noqa: E402
from pose3d_ros.model_store.tfjs_to_onnx import OFFSET, SCALE, convert  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": RNG.normal(size=(3, 3, 3, 4)).astype(np.float16),
    "first_bias": RNG.normal(size=4).astype(np.float16),
    "depthwise": RNG.normal(size=(3, 3, 4, 1)).astype(np.float16),
    "second": RNG.normal(size=(1, 1, 4, 2)).astype(np.float16),
}


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def convolution(name: str, op: str, inputs: list[str], stride: int, *fused: str) -> dict[str, Any]:
    return {
        "name": name,
        "op": op,
        "input": inputs,
        "attr": {
            "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
            "padding": text("SAME"),
            "fused_ops": {"list": {"s": [text(kind)["s"] for kind in fused]}},
        },
    }


def graph(*more: dict[str, Any]) -> bytes:
    nodes = [
        {"name": "image", "op": "Sub", "input": ["pixels"], "attr": {}},
        convolution("a", "_FusedConv2D", ["image", "first", "first_bias"], 2, "BiasAdd", "Relu6"),
        convolution("b", "DepthwiseConv2dNative", ["a", "depthwise"], 1),
        {"name": "c", "op": "AddV2", "input": ["a", "b"], "attr": {}},
        convolution("d", "Conv2D", ["c", "second"], 1),
        {
            "name": "e",
            "op": "ResizeBilinear",
            "input": ["d", "size"],
            "attr": {"half_pixel_centers": {"b": True}},
        },
        *more,
    ]
    entries = [
        {
            "name": name,
            "shape": list(value.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16"},
        }
        for name, value in WEIGHTS.items()
    ]
    return json.dumps(
        {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": entries}]}
    ).encode()


DATA = b"".join(value.tobytes() for value in WEIGHTS.values())


def padded(values: np.ndarray, stride: int, kernel: int) -> np.ndarray:
    total = max(kernel - stride, 0)
    sides = (total // 2, total - total // 2)
    return np.pad(values, (sides, sides, (0, 0)))


def convolved(values: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """(H, W, C) with a kernel (kh, kw, C, O), as TensorFlow pads ("SAME")."""
    values = padded(values, stride, weight.shape[0])
    size = weight.shape[0]
    rows = range(0, values.shape[0] - size + 1, stride)
    columns = range(0, values.shape[1] - size + 1, stride)
    return np.array(
        [
            [np.einsum("yxc,yxco->o", values[y : y + size, x : x + size], weight) for x in columns]
            for y in rows
        ]
    )


def test_as_plain_numpy_does_it() -> None:
    model = convert(graph(), DATA, {"features": "d", "twice": "e"}, "image", "test")
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = RNG.integers(0, 256, (1, 64, 32, 3)).astype(np.uint8)
    features, twice = session.run(None, {"image": image})
    w = {name: value.astype(float) for name, value in WEIGHTS.items()}
    rgb = image[0, ..., ::-1].astype(float) * SCALE + OFFSET
    a = np.clip(convolved(rgb, w["first"], 2) + w["first_bias"], 0, 6)
    each = np.zeros((3, 3, 4, 4))
    each[:, :, range(4), range(4)] = w["depthwise"][..., 0]
    c = a + convolved(a, each, 1)
    d = convolved(c, w["second"], 1)
    np.testing.assert_allclose(features[0].transpose(1, 2, 0), d, rtol=1e-4, atol=1e-4)
    assert twice.shape == (1, 2, 64, 32)
    np.testing.assert_allclose(twice[0, :, 0, 0], d[0, 0], rtol=1e-4, atol=1e-4)
    between = 0.75 * d[0, 0] + 0.25 * d[0, 1]  # half-pixel centres
    np.testing.assert_allclose(twice[0, :, 0, 1], between, rtol=1e-4, atol=1e-4)


def test_the_same_bytes_each_time() -> None:
    made = [convert(graph(), DATA, {"out": "e"}, "image", "test") for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("topology", "data", "outputs", "said"),
    [
        (b"{}", DATA, "e", "expected a TensorFlow.js graph model"),
        (b"\x00", DATA, "e", "expected a TensorFlow.js graph model"),
        (graph(), DATA[:-2], "e", "bytes of weights|buffer"),
        (graph(), DATA, "z", "expected a node z in the graph"),
        (graph({"name": "f", "op": "Elu", "input": ["e"]}), DATA, "f", "operator Elu is not"),
    ],
)
def test_what_it_does_not_know_is_said(
    topology: bytes, data: bytes, outputs: str, said: str
) -> None:
    with pytest.raises(ConversionError, match=said):
        convert(topology, data, {"out": outputs}, "image", "test")
