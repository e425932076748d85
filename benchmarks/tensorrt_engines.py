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

"""Engines that TensorRT for RTX builds of the models, and the error of the typed models.

    python benchmarks/tensorrt_engines.py [NAME ...] [--for sm89]

Prints a table: layers as TensorRT read them, size of the engine, seconds of the build alone (CPU
time of this process: TensorRT for RTX times no kernels), and how far the typed model's pose is
from float32's, by ONNX Runtime on the CPU, which rounds weights and what goes from layer to layer
and adds in float32: millimetres of a lifter's joints, pixels of a detector's picture (256 of
BlazePose's and Thunder's crops, the finder's own picture), on what the networks are fed in the
demo clip (``models/*.reference.npz``). Nothing is run on a GPU.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from pose3d_ros.detection.movenet import multipose, thunder
from pose3d_ros.detection.movenet.decoding import decode_single
from pose3d_ros.errors import Pose3dError
from pose3d_ros.inference import reference_check
from pose3d_ros.inference.engine import Engine
from pose3d_ros.inference.engines.onnxruntime import OnnxRuntimeEngine
from pose3d_ros.inference.engines.tensorrt import library
from pose3d_ros.inference.engines.tensorrt.engine import Recipe
from pose3d_ros.inference.hot_swap import Progress
from pose3d_ros.model_store import store

PRECISIONS = ("fp32", "fp16")
PEOPLE = 10


def error(name: str, path: Path, precision: str) -> str:
    """Mean distance of a joint from float32's, with its unit."""
    given = reference_check.reference(name, path)
    typed, exact = (
        OnnxRuntimeEngine("cpu", ["CPUExecutionProvider"], path, 1, None, kind)
        for kind in (precision, "fp32")
    )
    if name in (multipose.MODEL, thunder.MODEL):
        places = [_places(name, engine, given.inputs["image"]) for engine in (typed, exact)]
        return f"{np.linalg.norm(places[0] - places[1], axis=-1).mean():.3f} px"
    answer = reference_check.check(typed, given, precision)
    return f"{answer.pose:.3f} {answer.unit}"


def _places(name: str, engine: Engine, images: np.ndarray) -> np.ndarray:
    """Keypoints (P, 17, 2) in pixels of what the network is fed."""
    if name == thunder.MODEL:
        return thunder.SIDE * decode_single(engine({"image": images}))[0]
    found = [multipose.find(engine, picture, np.ones(2)) for picture in images]
    return np.concatenate([people.keypoints_px for people in found])


def main() -> None:
    """Print a row for each model and precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [model.name for model in store.models()]
    parser.add_argument(
        "names", nargs="*", default=known, help="models known by name, or ONNX files"
    )
    parser.add_argument("--for", dest="target", default="sm89", help="default: %(default)s")
    arguments = parser.parse_args()
    rtx = library.for_rtx()
    rtx.check_targets([arguments.target])
    print(f"{rtx.name} for {arguments.target}, 1 to {PEOPLE} people\n")
    print("| model | precision | layers | model, MB | engine, MB | build, s | error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.names:
        path = store.locate(name)
        for precision in PRECISIONS:
            recipe = Recipe(rtx, path, precision, PEOPLE)
            size, began = len(recipe.model) / 1e6, time.process_time()
            try:
                built = recipe.build(arguments.target, b"", Progress())
            except Pose3dError as problem:
                print(f"| {name} | {precision} | {problem} |")
                continue
            seconds = time.process_time() - began
            off = error(name, path, precision) if name in known else ""
            print(
                f"| {Path(name).stem} | {precision} | {built.layers} | {size:.1f} | "
                f"{len(built.engine) / 1e6:.1f} | {seconds:.1f} | {off} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
