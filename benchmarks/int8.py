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

"""What INT8 and bfloat16 gain and cost: milliseconds, and errors in 2D and 3D on videos with
reference poses.

Calibrate first, with other pictures than the Pose2Sim demo data (see pose2sim_single.py), which
are the test:

    pose3d models build blazepose-full --engine cpu --precision int8 --images PICTURES
    python benchmarks/int8.py FOLDER [--detector NAME] [--views N] [--json FILE]
    python benchmarks/int8.py --hrnet     # speed alone, of HRNet-W32 at 256x192 with random
                                          # weights (needs torch)

Milliseconds are of whole frames of one person; the variants take turns, so trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from engines import in_turns
from pose2sim_single import evaluate_view, load_camera

from pose3d_ros.evaluation.table import table
from pose3d_ros.inference import EngineError, Options, create, int8
from pose3d_ros.io.videos import frames
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings

VARIANTS = [
    ("cpu", "fp32"),
    ("cpu", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
]
ERRORS = (
    "found",
    "px_mean",
    "px_median",
    "pa_mpjpe_mm",
    "mpjpe_mm",
    "velocity_error_mm",
    "jitter_mm",
    "jitter_mm_unsmoothed",
)
TIMED, TURN, WARM_UP = 200, 20, 2


def milliseconds(folder: Path, variants: list[PipelineSettings]) -> list[float]:
    """Median of a frame for each; they take turns, and the first frames of a turn are not
    counted.
    """
    camera = load_camera(folder, 0)
    pipelines = [MonocularPipeline(settings, max_people=1) for settings in variants]
    taken: list[list[float]] = [[] for _ in variants]
    images = [image for image, _ in islice(frames(folder / "video_balancing_cam01.mp4"), TIMED)]
    for first in range(0, len(images), TURN):
        for pipeline, values in zip(pipelines, taken, strict=True):
            for number in range(first, min(first + TURN, len(images))):
                start = time.perf_counter()
                pipeline(images[number], camera, (number + 1) * 16_666_667)
                if first and number - first >= WARM_UP:
                    values.append((time.perf_counter() - start) * 1e3)
    for pipeline in pipelines:
        pipeline.close()
    return [float(np.median(values)) for values in taken]


def hrnet() -> None:
    """Print the milliseconds of HRNet-W32 for one person."""
    from pose3d_ros.networks import create as network
    from pose3d_ros.networks.onnx_export import export

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        built: Any = network("hrnet-w32")
        path = export(
            built, Path(folder) / "hrnet-w32.onnx", built.example(2), ["f0", "f1", "f2", "f3"]
        )
        reference = create(path, "cpu", Options())
        ((name, shape),) = reference.inputs.items()
        feeds = [
            {name: rng.normal(size=[n or 1 for n in shape]).astype(np.float32)} for _ in range(4)
        ]
        model = int8.named(path)
        quantised = Path(folder) / "int8.onnx"
        quantised.write_bytes(
            int8.with_scales(model, int8.calibrated(model, feeds, int8.CPU), (), int8.CPU)
        )
        runs = {"cpu fp32": reference, "cpu int8": create(quantised, "cpu", Options())}
        for precision, file in (("fp32", path), ("bf16", path), ("int8", quantised)):
            try:
                runs[f"openvino {precision}"] = create(
                    file,
                    "openvino",
                    Options(precision="fp32" if precision == "int8" else precision),
                )
            except EngineError as error:
                print(f"# openvino {precision}: {error}")
        taken = in_turns(runs, feeds[0])
    base = taken["cpu fp32"]
    print(
        f"hrnet-w32 {shape[1:]}  "
        + "  ".join(f"{key} {ms:.1f} ms ({base / ms:.2f}x)" for key, ms in taken.items())
    )


def main() -> None:
    """Print the table, a column for each variant; write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--detector", default=PipelineSettings.detector)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--hrnet", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.hrnet:
        hrnet()
    if arguments.folder is None:
        return
    variants = []
    for engine, precision in VARIANTS:
        settings = PipelineSettings(
            detector=arguments.detector,
            engine=engine,
            precision=precision,
            threads=arguments.threads,
        )
        try:
            MonocularPipeline(settings).close()
            variants.append(settings)
        except EngineError as error:
            print(f"# {engine} {precision}: {error}")
    reports: list[dict[str, Any]] = []
    taken = milliseconds(arguments.folder, variants)
    for settings, ms in zip(variants, taken, strict=True):
        views = [
            evaluate_view(arguments.folder, view, settings) for view in range(arguments.views)
        ]
        reports.append(
            {
                "variant": f"{settings.engine} {settings.precision}",
                "ms": ms,
                "rate": taken[0] / ms,
                **{key: float(np.mean([report[key] for report in views])) for key in ERRORS},
            }
        )
        print(table(reports[-1:]), flush=True)
    print(table(reports))
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
