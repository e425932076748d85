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

"""Small ONNX networks whose right answer is known by construction: they find coloured blobs and
report them the way that real detectors report people. A blob's place is measured by the network in
its input, so crop, normalisation, colour order, decoding and the way back to image pixels are all
in the loop.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLOURS = ("red", "green", "blue")
BLACK_LEVEL = 128.0  # above the grey of letterboxing


def picture(size, blobs, sigma=8.0):
    """BGR picture (H, W, 3) of ``size`` (width, height), black but for Gaussian blobs {(x, y):
    colours}.
    """
    y, x = np.mgrid[: size[1], : size[0]].astype(float)
    image = np.zeros((size[1], size[0], 3))
    for (at_x, at_y), colours in blobs.items():
        blob = 255 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * sigma**2))
        for colour in colours:
            image[..., 2 - COLOURS.index(colour)] += blob
    return image.clip(0, 255).round().astype(np.uint8)


class Graph:
    """Writes an ONNX graph node by node."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value, dtype=np.float32):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op, *inputs, **attributes):
        named = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        output = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, named, [output], **attributes))
        return output

    def axes(self, *axes):
        return self.constant(axes, np.int64)

    def save(self, path, size, outputs, batch="batch", types=(TensorProto.FLOAT,) * 5, names=None):
        named = names or [f"output{i}" for i in range(len(outputs))]
        for name, output in zip(named, outputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [output], [name]))
        graph = helper.make_graph(
            self.nodes,
            "toy",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, *size[::-1]])],
            [
                helper.make_tensor_value_info(*output, None)
                for output in zip(named, types, strict=False)
            ],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return str(path)


def elementwise(path, **operators):
    """x (N, 3) float32, and outputs of that shape: by name, the operator that makes them of x and
    x.
    """
    x, *outputs = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["people", 3])
        for n in ("x", *operators)
    )
    nodes = [
        helper.make_node(operator, ["x", "x"], [name]) for name, operator in operators.items()
    ]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "toy", [x], outputs),
            ir_version=8,
            opset_imports=[helper.make_opsetid("", 13)],
        ),
        path,
    )
    return path


def plane(values):
    return np.reshape(np.asarray(values, np.float32), (1, 3, 1, 1))


def levels(graph, rgb, mean, std):
    """The picture's red, green and blue in 0..255, as (N, 3, H, W)."""
    raw = graph("Add", graph("Mul", "input", plane(std)), plane(mean))
    return raw if rgb else graph("Gather", raw, graph.constant([2, 1, 0], np.int64), axis=1)


def centroids(graph, light, size):
    """Centre x, centre y and peak in 0..1 of each channel's light (N, K, H, W), each (N, K, 1)."""
    weight = graph("Relu", graph("Sub", light, BLACK_LEVEL))
    total = graph("Add", graph("ReduceSum", weight, graph.axes(2, 3), keepdims=0), 1e-6)
    x = np.arange(size[0], dtype=np.float32).reshape(1, 1, 1, -1)
    y = np.arange(size[1], dtype=np.float32).reshape(1, 1, -1, 1)
    measured = [
        graph(
            "Div",
            graph("ReduceSum", graph("Mul", weight, place), graph.axes(2, 3), keepdims=0),
            total,
        )
        for place in (x, y)
    ]
    peak = graph("Div", graph("ReduceMax", light, axes=[2, 3], keepdims=0), 255.0)
    # grey that a letterbox adds is nobody
    peak = graph("Mul", peak, graph("Clip", graph("Mul", total, 10.0), 0.0, 1.0))
    return [graph("Unsqueeze", value, graph.axes(2)) for value in (*measured, peak)]


def boxes(path, size, rgb=False, mean=(0, 0, 0), std=(1, 1, 1), half=(20.0, 40.0), classes=None):
    """Export with built-in suppression: a box of ``half`` size about the blob of each colour, [1,
    3, 5].
    """
    graph = Graph()
    x, y, score = centroids(graph, levels(graph, rgb, mean, std), size)
    low_x, low_y = graph("Sub", x, half[0]), graph("Sub", y, half[1])
    high_x, high_y = graph("Add", x, half[0]), graph("Add", y, half[1])
    outputs = [graph("Concat", low_x, low_y, high_x, high_y, score, axis=2)]
    if classes is not None:
        outputs.append(graph.constant([classes], np.int64))
    return graph.save(path, size, outputs, batch=1, types=(TensorProto.FLOAT, TensorProto.INT64))


def halves(path, size, half=(50.0, 90.0)):
    """Like ``boxes`` for YOLOX pictures, with one person in the left and one in the right half of
    the picture.
    """
    graph = Graph()
    light = graph("ReduceMax", levels(graph, False, (0, 0, 0), (1, 1, 1)), axes=[1], keepdims=1)
    masks = np.zeros((1, 2, 1, size[0]), np.float32)
    masks[0, 0, 0, : size[0] // 2] = masks[0, 1, 0, size[0] // 2 :] = 1
    x, y, score = centroids(graph, graph("Mul", light, masks), size)
    return graph.save(
        path,
        size,
        [
            graph(
                "Concat",
                graph("Sub", x, half[0]),
                graph("Sub", y, half[1]),
                graph("Add", x, half[0]),
                graph("Add", y, half[1]),
                score,
                axis=2,
            )
        ],
        batch=1,
    )


def constant(path, size, *values):
    """Gives the same outputs whatever it sees."""
    graph = Graph()
    nothing = graph("Mul", graph("ReduceSum", "input", keepdims=0), 0.0)
    return graph.save(path, size, [graph("Add", value, nothing) for value in values], batch=1)


OFFSETS = np.stack([np.linspace(-15, 15, 17), np.linspace(-30, 30, 17)], 1).astype(np.float32)
"""Where the one-stage toys put the keypoints, from the middle of the blob, in the network's
pixels.
"""


def rtmo(path, size):
    """RTMO: [1, 3, 5] and [1, 3, 17, 3]."""
    graph = Graph()
    x, y, score = centroids(graph, levels(graph, False, (0, 0, 0), (1, 1, 1)), size)
    box = graph(
        "Concat",
        graph("Sub", x, 20.0),
        graph("Sub", y, 40.0),
        graph("Add", x, 20.0),
        graph("Add", y, 40.0),
        score,
        axis=2,
    )
    place = graph("Unsqueeze", graph("Concat", x, y, axis=2), graph.axes(2))
    points = graph("Add", place, OFFSETS[None, None])
    seen = graph(
        "Add", graph("Mul", graph("ReduceSum", points, graph.axes(3), keepdims=1), 0.0), 0.9
    )
    return graph.save(path, size, [box, graph("Concat", points, seen, axis=3)], batch=1)


def yolo_pose(path, size):
    """YOLO-pose: [1, 56, 3]."""
    graph = Graph()
    x, y, score = centroids(graph, levels(graph, True, (0, 0, 0), (255, 255, 255)), size)
    box = graph(
        "Concat",
        x,
        y,
        graph("Add", graph("Mul", x, 0.0), 40.0),
        graph("Add", graph("Mul", y, 0.0), 80.0),
        score,
        axis=2,
    )
    rows = [box]
    for dx, dy in OFFSETS:
        rows += [
            graph("Add", x, dx),
            graph("Add", y, dy),
            graph("Add", graph("Mul", score, 0.0), 0.9),
        ]
    return graph.save(
        path, size, [graph("Transpose", graph("Concat", *rows, axis=2), perm=[0, 2, 1])], batch=1
    )


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def joints_light(graph, joints):
    """(N, J, H, W) in 0..1: joint j shines where the picture has colour j mod 3."""
    light = graph("Div", levels(graph, True, MEAN, STD), 255.0)
    return graph("Gather", light, graph.constant(np.arange(joints) % 3, np.int64), axis=1)


def simcc(path, size, joints=17, batch="batch"):
    """SimCC vectors, two bins per pixel, that peak where the joint's colour does."""
    graph = Graph()
    light = joints_light(graph, joints)
    outputs = []
    for axis in (2, 3):
        vector = graph("ReduceMax", light, axes=[axis], keepdims=0)
        scales = graph.constant([1, 1, 2])
        doubled = graph(
            "Resize",
            vector,
            graph.constant([], np.float32),
            scales,
            mode="linear",
            coordinate_transformation_mode="asymmetric",
        )
        outputs.append(doubled)
    return graph.save(path, size, outputs, batch=batch)


def heatmap(path, size, joints=17, batch="batch", udp=False):
    """Heat maps at a quarter of the size; plain: cell i shows pixel 4 i; UDP: the outer pixels'
    centres coincide.
    """
    graph = Graph()
    light = joints_light(graph, joints)
    if udp:
        scales = graph.constant([1, 1, 0.25, 0.25])
        maps = graph(
            "Resize",
            light,
            graph.constant([], np.float32),
            scales,
            mode="linear",
            coordinate_transformation_mode="align_corners",
        )
    else:
        maps = graph(
            "Slice",
            light,
            graph.axes(0, 0),
            graph.axes(size[1], size[0]),
            graph.axes(2, 3),
            graph.axes(4, 4),
        )
    return graph.save(path, size, [maps], batch=batch)


_COLOURS = np.stack(np.meshgrid(*[[0, 0.5, 1]] * 3), -1).reshape(-1, 3).astype(np.float32)
DOTS = _COLOURS[_COLOURS.max(1) == 1][:17]
"""The colour of each of 17 joints (red, green, blue, 0 to 1), for ``dots``."""


def dots(path, size, maps=()):
    """Heat maps like ``heatmap`` of joints drawn as dots of the colours ``DOTS`` on black, and
    feature maps of shapes ``maps`` (C, H, W), whose first three channels are the picture's red,
    green and blue.
    """
    graph = Graph()
    light = graph("Div", levels(graph, True, MEAN, STD), 255.0)
    square = graph("ReduceSum", graph("Mul", light, light), graph.axes(1), keepdims=1)
    apart = graph(
        "Add",
        graph("Sub", square, graph("Conv", light, 2 * DOTS[:, :, None, None])),
        (DOTS**2).sum(1).reshape(1, 17, 1, 1),
    )
    near = graph("Relu", graph("Sub", 1.0, graph("Mul", apart, 10.0)))
    line = np.exp(-(np.arange(-6, 7) ** 2) / 8)
    kernel = np.tile(1.3 * np.outer(line, line) / line.sum() ** 2, (17, 1, 1, 1)).astype(
        np.float32
    )
    outputs = [graph("Conv", near, kernel, group=17, pads=[6] * 4, strides=[4, 4])]
    for channels, height, _ in maps:
        stride = [size[1] // height] * 2
        mixed = np.concatenate(
            [np.eye(3), np.random.default_rng(channels).normal(0, 1, (channels - 3, 3))]
        )
        pooled = graph("AveragePool", light, kernel_shape=stride, strides=stride)
        outputs.append(graph("Conv", pooled, mixed[:, :, None, None].astype(np.float32)))
    names = ["heatmaps", *(f"features{level}" for level in range(len(maps)))]
    return graph.save(path, size, outputs, names=names)
