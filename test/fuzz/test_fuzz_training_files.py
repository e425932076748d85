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

"""Damaged and hostile recordings, motion capture, checkpoints and lifters: one error class of one
line, in seconds and megabytes.
"""

import io
import json
import pickle
import random
import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M
from mutations import CASES, MOST_MB, SEED, SLOWEST_S, mutated, run_all

from pose3d_ros.io.npz import NpzError, read_entries
from pose3d_ros.training.data.converters.archives import load_npz
from pose3d_ros.training.data.detector_noise import DetectorNoise
from pose3d_ros.training.data.motion_capture import MotionCaptureError, read_motion_capture
from pose3d_ros.training.data.recordings import Recording, RecordingError, write
from pose3d_ros.training.data.shards import map_features, read_labels


def repacked(rng: random.Random, data: bytes) -> bytes:
    """A zip with one member mutated: the archive itself is sound, its checksums too."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, mutated(rng, content) if name == chosen else content)
    return made.getvalue()


def damage(path: Path, load, data: bytes, allowed, zipped: bool = True) -> None:
    """Write mutations of the data to the path, every other one inside its zip, and load them."""
    rng = random.Random(SEED)

    def load_damaged(damaged: bytes) -> None:
        path.write_bytes(damaged)
        load(path)

    cases = (
        repacked(rng, data) if zipped and case % 2 else mutated(rng, data) for case in range(CASES)
    )
    outcomes = run_all(load_damaged, cases, allowed, named=str(path.parent))
    assert outcomes.total() - outcomes["loaded"] > CASES / 5


def recording(folder: Path) -> Path:
    joints_m = np.repeat((STANDING_M + [0, 0, 4])[None], 20, 0).astype(np.float32)
    return write(
        folder,
        "train",
        Recording(
            "walk",
            joints_m,
            CAMERA.project(joints_m),
            np.ones((20, 17)),
            CAMERA,
            30.0,
            "somebody",
            "walking",
            images="walk/{frame:03d}.jpg",
        ),
    )


def test_damaged_recordings(tmp_path):
    path = recording(tmp_path)
    damage(path, Recording.load, path.read_bytes(), RecordingError)


def test_damaged_motion_capture(tmp_path):
    positions = np.random.default_rng(0).normal(0, 1, (40, 22, 3)).astype(np.float32)
    path = tmp_path / "train.npz"
    np.savez_compressed(path, positions=positions, clip_start=[0, 20], clip_len=[20, 20])
    index = json.dumps({"clips": [{"id": name, "split": "train"} for name in "ab"]})
    (tmp_path / "index.json").write_text(index)
    errors = (MotionCaptureError, NpzError)
    data = path.read_bytes()
    damage(path, lambda _: read_motion_capture(tmp_path, "train"), data, errors)
    path.write_bytes(data)
    damage(
        tmp_path / "index.json",
        lambda _: read_motion_capture(tmp_path, "train"),
        index.encode(),
        errors,
        zipped=False,
    )


def test_damaged_noise_shards_and_archives(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "some.npz"
    labels = {
        "found": np.ones(12, bool),
        "clip": np.repeat([5, 11], 6),
        "frame": np.arange(12),
        "joints_m": rng.normal(0, 1, (12, 17, 3)) + [0, 0, 4],
        "residual": rng.normal(0, 0.1, (12, 17, 2)),
        "confidence": rng.random((12, 17)),
        "root_relative_depth": rng.normal(0, 1, (12, 17)),
    }
    np.savez_compressed(path, **labels)  # type: ignore[arg-type]
    data = path.read_bytes()
    damage(path, lambda path: DetectorNoise.load(path, "val"), data, NpzError)
    names = ("joints_m", "confidence", "root_relative_depth", "clip")
    damage(path, lambda path: read_labels(path, names), data, NpzError)
    np.savez(path, positions_3d=np.array({"S1": {"Walk": rng.normal(0, 1, (5, 17, 3))}}, object))
    damage(path, load_npz, path.read_bytes(), NpzError)
    features = path.with_suffix(".features.npy")
    np.save(features, rng.normal(0, 1, (12, 30)).astype(np.float16))
    damage(features, lambda _: map_features(path), features.read_bytes(), NpzError, zipped=False)


@pytest.mark.parametrize("entry", [(10**12, 17, 3), (2**62, 17, 3), (0, 17, 3), (-1, 17, 3)])
def test_absurd_shapes_are_refused(tmp_path, entry):
    """An npz whose header announces more than it has."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": entry}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("joints_m.npy", header.getvalue() + bytes(1000))
    with pytest.raises(NpzError, match="a.npz.*joints_m.*(of the size that|is of shape)"):
        read_entries(tmp_path / "a.npz", {"joints_m": ("number", 5, 17, 3)})


def test_a_zip_bomb_costs_nothing(tmp_path):
    path = tmp_path / "bomb.npz"
    frames = 1_000_000
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("joints_m.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (frames, 17, 3)}
        )
        for _ in range(100):
            file.write(bytes(frames // 100 * 17 * 3 * 4))
    assert path.stat().st_size < 1e6
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NpzError, match="unpack from 0.2 to 204 MB"):
        read_entries(path, {"joints_m": ("number", "T", 17, 3)})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000


def test_a_long_recording_of_somebody_who_stands_still_is_no_bomb(tmp_path):
    """Two hours at 30 Hz: every frame the same."""
    path = tmp_path / "still.npz"
    np.savez_compressed(path, joints_m=np.zeros((216_000, 17, 3), np.float32))
    assert len(read_entries(path, {"joints_m": ("number", "T", 17, 3)})["joints_m"]) == 216_000


# Checkpoints and ONNX files


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_damaged_checkpoints(tmp_path, legacy, protocol):
    torch = pytest.importorskip("torch")
    from pose3d_ros.networks import create
    from pose3d_ros.networks.checkpoint import parameters
    from pose3d_ros.networks.torch_file import CheckpointError

    network = create("martinez", channels=4)
    path = tmp_path / "some.bin"
    torch.save(
        {"epoch": 3, "random_state": np.random.RandomState(0), "model": network.state_dict()},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )
    found = parameters(path)
    for name, value in network.state_dict().items():
        assert torch.equal(found[f"model.{name}"], value), name
    damage(path, parameters, path.read_bytes(), CheckpointError, zipped=not legacy)


def test_a_folder_of_a_training_that_is_damaged(tmp_path):
    torch = pytest.importorskip("torch")
    from dataclasses import asdict

    from pose3d_ros.networks.torch_file import CheckpointError
    from pose3d_ros.training.build import build
    from pose3d_ros.training.checkpoint import load
    from pose3d_ros.training.settings import TrainSettings

    settings = TrainSettings(lifter="martinez", channels=8)
    torch.save({"network": build(settings).state_dict()}, tmp_path / "checkpoint.pt")
    path = tmp_path / "settings.json"
    text = json.dumps(asdict(settings)).encode()
    damage(path, lambda _: load(tmp_path), text, CheckpointError, zipped=False)
    for changes in ({"channels": 4096, "lifter": "rpsm", "stages": 16}, {"channels": 4096}):
        path.write_text(json.dumps(asdict(settings) | changes))
        with pytest.raises(CheckpointError, match="parameters"):
            load(tmp_path)


class _Nested:
    """Pickles as dictionaries in dictionaries, each twice in the next: 2^60 paths."""

    def __reduce__(self):
        value: dict = {}
        for _ in range(60):
            value = {"a": value, "b": value}
        return dict, (value,)


def _with_pickle(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", bytes(16))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo of two thousand million entries
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes without end
        b"(" * 100_000,
        b"\x80\x02]" + b"q\x00]h\x00a" * 2000 + b".",
        pickle.dumps(_Nested()),
        pickle.dumps({"network": float("nan"), 1: [None] * 10}),
    ],
    ids=("memo", "bytes", "marks", "itself", "nested", "other"),
)
def test_hostile_pickles_cost_nothing(tmp_path, content):
    pytest.importorskip("torch")
    from pose3d_ros.networks.checkpoint import parameters
    from pose3d_ros.networks.torch_file import CheckpointError

    path = tmp_path / "hostile.pth"
    _with_pickle(path, content)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    try:
        assert parameters(path) == {}
    except CheckpointError as error:
        assert "\n" not in str(error) and "hostile.pth" in str(error)
    assert time.perf_counter() - start < SLOWEST_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 1024 * MOST_MB


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    """Strides of zero make a tensor of any size of one number."""
    torch = pytest.importorskip("torch")
    from pose3d_ros.networks.checkpoint import parameters
    from pose3d_ros.networks.torch_file import CheckpointError

    torch.save({"weight": torch.zeros(1).expand(10**9)}, tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match="in 1 stored numbers"):
        parameters(tmp_path / "wide.pth")


def test_damaged_lifters_to_begin_with(tmp_path):
    torch = pytest.importorskip("torch")
    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import export
    from pose3d_ros.training.onnx_weights import (
        WeightsError,
        architecture_of,
        load_weights,
        write_metadata,
    )
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(0)
    settings = TrainSettings(lifter="rpsm", channels=96, stages=1)
    network = build(settings).eval()
    path = tmp_path / "lifter.onnx"
    write_metadata(export(network, path), settings)

    def load(path: Path) -> None:
        architecture_of(path, "rpsm")
        load_weights(build(settings), path)

    load(path)
    damage(path, load, path.read_bytes(), WeightsError, zipped=False)
