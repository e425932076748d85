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

"""Milliseconds of the networks on the engines and precisions of this machine's CPU, beside ONNX
Runtime in float32.

For 1, 4 and 10 people; medians after warm-up. All take turns in one run, so that what else the
machine does meets all alike: trust the ratios, not the milliseconds. INT8 needs calibration first
(pose3d models build --precision int8 --images FOLDER); what is not there is left out.

    python benchmarks/engines.py [NAME ...] [--threads N] [--session]

--session tries options of ONNX Runtime.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime

from pose3d_ros import inference
from pose3d_ros.detection.blazepose.landmarks import LEVELS
from pose3d_ros.inference import EngineError, Options, cpu
from pose3d_ros.model_store import store

BATCHES = (1, 4, 10)
ROUNDS, TAKEN, WARM_UP = 30, 2, 4
POSE = ("landmarks", "presence", "heatmap")
OUTPUTS = {"blazepose-full": POSE, "blazepose-full with features": (*POSE, *LEVELS)}
SPIN = "session.intra_op.allow_spinning"
Run = Callable[[Mapping[str, np.ndarray]], Any]


def engines(path: Any, outputs: Any, threads: int) -> dict[str, Run]:
    """Every engine of this machine for one network; the first is what the others are compared
    with.
    """
    found: dict[str, Run] = {}
    for engine, precision in (
        ("cpu", "fp32"),
        ("cpu", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ):
        try:
            found[f"{engine} {precision}"] = inference.create(
                path, engine, Options(threads, precision), outputs
            )
        except EngineError as error:
            print(f"# {engine} {precision}: {error}")
    return found


def sessions(path: Any, outputs: Any, threads: int) -> dict[str, Run]:
    """ONNX Runtime with other options than the package's, which is the first."""

    def session(change: Callable[[Any], object], most: int = threads) -> Run:
        options, run_options = onnxruntime.SessionOptions(), onnxruntime.RunOptions()
        options.intra_op_num_threads, options.log_severity_level = cpu.threads(most), 3
        options.add_session_config_entry(SPIN, "0")
        run_options.only_execute_path_to_fetches = True
        change(options)
        made = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = list(outputs or (value.name for value in made.get_outputs()))
        return lambda feeds: made.run(names, feeds, run_options)

    def entry(key: str, value: str) -> Callable[[Any], None]:
        return lambda options: options.add_session_config_entry(key, value)

    def spin(microseconds: str) -> Callable[[Any], None]:
        def change(options: Any) -> None:
            options.add_session_config_entry(SPIN, "1")
            options.add_session_config_entry("session.intra_op.spin_duration_us", microseconds)

        return change

    return {
        "as it is": session(lambda options: None),
        "one thread": session(lambda options: None, 1),
        "spinning": session(entry(SPIN, "1")),
        "spinning 50 us": session(spin("50")),
        "no arena": session(lambda options: setattr(options, "enable_cpu_mem_arena", False)),
        "no memory pattern": session(
            lambda options: setattr(options, "enable_mem_pattern", False)
        ),
        "parallel": session(
            lambda options: setattr(
                options, "execution_mode", onnxruntime.ExecutionMode.ORT_PARALLEL
            )
        ),
        "denormals as zero": session(entry("session.set_denormal_as_zero", "1")),
    }


def in_turns(runs: Mapping[str, Run], feeds: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Median milliseconds of each. The first run of each turn is not counted: another's data are
    in the cache.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(WARM_UP + ROUNDS):
        for name, run in runs.items():
            for i in range(1 + TAKEN):
                start = time.perf_counter()
                run(feeds)
                if i and number >= WARM_UP:
                    taken[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(values)) for name, values in taken.items()}


def main() -> None:
    """Print a line for each network and batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", help="models known by name, or ONNX files; default: all known"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--session", action="store_true")
    arguments = parser.parse_args()
    known = [model.name for model in store.models()]
    rng = np.random.default_rng(0)
    for name in arguments.names or [*known, "blazepose-full with features"]:
        path = store.locate(name.split(" with ")[0])
        print(f"\n{name}")
        runs = (sessions if arguments.session else engines)(
            path, OUTPUTS.get(name), arguments.threads
        )
        reference = inference.create(path, "cpu", Options(1))
        for count in BATCHES:
            shapes = {
                key: [count if n is None else n for n in shape]
                for key, shape in reference.inputs.items()
            }
            feeds = {
                key: (
                    rng.integers(0, 256, shape)
                    if reference.types[key] == np.uint8
                    else rng.normal(size=shape)
                ).astype(reference.types[key])
                for key, shape in shapes.items()
            }
            taken = in_turns(runs, feeds)
            base = next(iter(taken.values()))
            print(
                f"{count:3} people  "
                + "  ".join(f"{key} {ms:.2f} ms ({base / ms:.2f}x)" for key, ms in taken.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
