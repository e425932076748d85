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

"""TensorRT for RTX: NVIDIA's own parser and builder on our models, which need no GPU (on x86-64,
``pip install 'pose3d_ros[tensorrt]'``). Running an engine does.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from paths import ROOT

from pose3d_ros.cli.main import main as cli
from pose3d_ros.detection import finder
from pose3d_ros.detection.movenet import multipose, thunder
from pose3d_ros.inference import EngineError, MissingEngineError, Options
from pose3d_ros.inference.batching import Profile, profiles
from pose3d_ros.inference.engines.tensorrt import library
from pose3d_ros.inference.engines.tensorrt.build import build
from pose3d_ros.inference.engines.tensorrt.engine import Recipe, build_ahead
from pose3d_ros.inference.hot_swap import Progress
from pose3d_ros.model_store import store
from pose3d_ros.profiling import engine_trials

MODELS = {model.name: model for model in store.models()}
LIFTER = "lifter-martinez"
OPTIONS = Options(max_people=10)


def installed() -> str | None:
    try:
        library.for_rtx()
    except MissingEngineError as error:
        return str(error)
    return None


needs_rtx = pytest.mark.skipif(installed() is not None, reason=f"{installed()}")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("pose3d_ros.inference.cache.cache_folder", lambda: tmp_path)
    return tmp_path / "engines"


@needs_rtx
@pytest.mark.parametrize(("precision", "target"), [("fp32", "sm86"), ("fp16", "sm120")])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_read_and_built(name, precision, target):
    """In both precisions, each for GPUs of another generation, for 1, 4 and 10 people."""
    if MODELS[name].problem == "not fetched yet":
        pytest.skip("not fetched yet: pose3d models fetch")
    (built,) = build_ahead(
        MODELS[name].path, Options(precision=precision, max_people=10), [target]
    )
    assert built.seconds is not None and built.target == target
    assert built.by.startswith("TensorRT for RTX ")


def test_pictures_of_every_film_lie_within_the_finders_profile():
    image = {"image": (None, None, None, 3)}
    path = MODELS[multipose.MODEL].path
    within = profiles(path, image, 10, store.pictures_of(path))["image"]
    for side in (finder.NEAR, finder.FAR):
        for height, width in ((720, 1280), (1280, 720), (480, 640), (8, 4000), (4000, 8), (1, 1)):
            picture, _ = multipose.letterbox(np.zeros((height, width, 3), np.uint8), side)
            shape = (1, *picture.shape)
            assert (np.array(within.least) <= shape).all() and (
                shape <= np.array(within.most)
            ).all()


def test_profiles_of_crops_are_of_their_one_size():
    path, side = MODELS[thunder.MODEL].path, thunder.SIDE
    assert profiles(path, {"image": (None, None, None, 3)}, 10, store.pictures_of(path)) == {
        "image": Profile((1, side, side, 3), (4, side, side, 3), (10, side, side, 3))
    }


def network(path: Path, *nodes: onnx.NodeProto, shape=(None, 3, 3), weights=()) -> Path:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


@needs_rtx
def test_an_operator_that_it_lacks_is_named(tmp_path, cache):
    path = network(tmp_path / "det.onnx", helper.make_node("Det", ["x"], ["y"], name="volume"))
    with pytest.raises(
        EngineError, match=r"det.onnx: TensorRT for RTX .* cannot read .*operator Det .*'volume'"
    ) as error:
        list(build_ahead(path, OPTIONS, ["sm89"]))
    assert "\n" not in str(error.value) and not list(cache.glob("*.bin"))


@needs_rtx
def test_a_network_whose_engine_is_empty_is_refused(tmp_path):
    """TensorRT builds one without a word where strides leave nothing of the picture."""
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name)
        for name, size in (("first", (128, 3, 3, 3)), ("second", (256, 128, 3, 3)))
    ]
    layers = [
        helper.make_node("Conv", ["x", "first"], ["a"], strides=[2, 2]),
        helper.make_node("Conv", ["a", "second"], ["y"], strides=[2, 2]),
    ]
    shape = (None, 3, None, None)
    path = network(tmp_path / "shrinks.onnx", *layers, shape=shape, weights=weights)
    rtx = library.for_rtx()

    def of(side):
        sizes = (1, 3, side, side)
        pictures = sizes, sizes, sizes
        return build(
            rtx, path, path.read_bytes(), 1, pictures, "sm89", True, b"", Progress()
        ).engine

    assert len(of(64)) > 1e6
    with pytest.raises(EngineError, match="expected an engine of about 1.2 MB.*export it for"):
        of(5)
    with pytest.raises(EngineError, match="only free axis is the first"):
        build(rtx, path, path.read_bytes(), 1, None, "sm89", True, b"", Progress())


@needs_rtx
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "sm90"], "expected compute capabilities of sm75, .*, got sm90"),
        (["--for", "sm89", "--precision", "int8"], "expected auto, fp16, fp32 with engine"),
        (["--for", "sm89", "--engine", "cpu"], "--for: expected --engine tensorrt"),
    ],
)
def test_wrong_orders_end_in_a_line(arguments, said, capsys):
    assert cli(["models", "build", LIFTER, "--engine", "tensorrt", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(said, error)


@needs_rtx
def test_a_damaged_model_ends_in_a_line(tmp_path, capsys):
    (tmp_path / "cut.onnx").write_bytes(store.locate(LIFTER).read_bytes()[:100_000])
    order = ["models", "build", f"{tmp_path}/cut.onnx", "--engine", "tensorrt", "--for", "sm89"]
    assert cli(order) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cut.onnx" in error and "valid ONNX" in error


@needs_rtx
def test_engines_are_found_again_and_made_again_when_damaged(cache, caplog):
    def built(options=OPTIONS, target="sm89"):
        (made,) = build_ahead(store.locate(LIFTER), options, [target])
        return made.seconds is not None

    assert built() and not built()
    assert built(target="sm86")
    assert built(Options(precision="fp32", max_people=10))
    assert built(Options(max_people=12))
    assert not built()
    for entry in cache.glob("*.bin"):
        entry.write_bytes(entry.read_bytes()[:-1000])
    assert built() and "is damaged; it is made again" in caplog.text
    assert not built()


@needs_rtx
def test_an_engine_serves_every_gpu_of_its_compute_capability():
    rtx = Recipe(library.for_rtx(), store.locate(LIFTER), "fp16", 10)
    assert rtx.key("sm89", "RTX 4090") == rtx.key("sm89")
    assert rtx.key("sm89") != rtx.key("sm120")
    classic = Recipe(replace(rtx.library, rtx=False), store.locate(LIFTER), "fp16", 10)
    assert classic.key("sm89", "RTX 4090") != classic.key("sm89", "L4")


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning")
def test_the_way_of_classic_tensorrt_as_far_as_this_builder_goes_it_too():
    """Its flag of strong types, plugins and timings; what it times is the GPU's."""
    classic = replace(library.for_rtx(), rtx=False)
    assert classic.network_flags != 0 == library.for_rtx().network_flags
    recipe = Recipe(classic, store.locate(LIFTER), "fp32", 10)
    first = recipe.build("sm89", b"", Progress())
    again = recipe.build("sm89", first.timings, Progress())
    assert first.timings and len(again.engine) == len(first.engine)


@needs_rtx
def test_a_build_tells_how_far_it_is_and_lets_others_run_and_stops_when_told():
    recipe = Recipe(library.for_rtx(), store.locate("lifter-rpsm"), "fp16", 10)
    assert recipe.model
    progress, shares = Progress(), []
    thread = Thread(target=lambda: recipe.build("sm89", b"", progress))
    thread.start()
    while thread.is_alive():
        shares.append(progress.share or 0.0)
        time.sleep(0.01)
    assert shares == sorted(shares) and progress.share == 1
    assert len(set(shares)) > 2, "this thread had its turns meanwhile"
    with pytest.raises(EngineError, match="BuildCanceled"):
        recipe.build("sm89", b"", Progress(cancelled=True))


ORDER = ["models", "build", LIFTER, "--engine", "tensorrt", "--for", "sm89"]


def command(folder: Path) -> tuple[list[str], dict[str, str]]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(folder)}
    return [sys.executable, "-m", "pose3d_ros.cli", *ORDER], environment


@needs_rtx
def test_two_processes_build_an_engine_once(tmp_path):
    order, environment = command(tmp_path)
    both = [
        subprocess.Popen(order, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("built in" in line for line in said) == [False, True]
    assert len(list(tmp_path.glob("pose3d_ros/engines/*.bin"))) == 1


@needs_rtx
def test_a_full_disk_is_said_in_a_line(tmp_path):
    """A real file system of 1 MB, in a mount namespace of its own."""
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    enter = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*enter, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system lets nobody mount: {error}")
    order, environment = command(tmp_path)
    done = subprocess.run(
        [*enter, *order], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "No space left on device); free some space, or set XDG_CACHE_HOME" in done.stderr


@needs_rtx
def test_the_doctor_builds_and_says_that_nothing_ran(monkeypatch):
    monkeypatch.setattr("pose3d_ros.inference.gpu.find", lambda: None)
    trial = engine_trials.attempt("tensorrt", "fp16", LIFTER, store.locate(LIFTER))
    assert trial is not None and trial.not_run and not trial.failed
    assert re.search(
        r"built by TensorRT for RTX \S+ for sm89, not run here", engine_trials.line(trial)
    )
    assert engine_trials.attempt("tensorrt", "int8", LIFTER, store.locate(LIFTER)) is None


CLASSES = {
    "builder": "Builder",
    "parser": "OnnxParser",
    "network": "INetworkDefinition",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "_runtime": "Runtime",
    "_context": "IExecutionContext",
    "_compiled": "IRuntimeCache",
}


@needs_rtx
def test_every_name_that_we_use_of_its_api_is_there():
    """What runs an engine cannot be run here; its names can be looked up."""
    module, used = library.for_rtx().module, set()
    folder = Path(library.__file__).parent
    for file in ("build.py", "runtime.py"):
        for node in ast.walk(ast.parse((folder / file).read_text())):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                owner, _, attribute = text.removeprefix("self.").rpartition(".")
                owner = owner.removeprefix("library.module.")
                if owner in CLASSES:
                    used.add(f"{CLASSES[owner]}.{attribute}")
                elif text.startswith(("trt.", "library.module.")):
                    used.add(text.removeprefix("library.module.").removeprefix("trt."))
                elif owner == "config":
                    known = module.IBuilderConfig, module.IRuntimeConfig
                    assert any(hasattr(of, attribute) for of in known), attribute
    assert {"IExecutionContext.execute_async_v3", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE"} <= used
    for name in used:
        found = module
        for part in name.split("."):
            assert hasattr(found, part), name
            found = getattr(found, part)
