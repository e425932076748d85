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

"""Folders of motion capture beside each other: better copies replace clips, all lend motions."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.training.data.motion_capture import (
    MotionCaptureError,
    folders_with,
    read_motion_capture,
    replaced,
)
from pose3d_ros.training.rendering.motions import Motions


def folder(path: Path, value: float, clips: list[dict], splits=("train",)) -> Path:
    """Clips of 5 frames each, all of whose coordinates are ``value``."""
    path.mkdir()
    for split in splits:
        np.savez(
            path / f"{split}.npz",
            positions=np.full((5 * len(clips), 22, 3), value, np.float32),
            clip_start=5 * np.arange(len(clips)),
            clip_len=np.full(len(clips), 5),
        )
    entries = [{**clip, "split": split} for split in splits for clip in clips]
    (path / "index.json").write_text(json.dumps({"clips": entries}))
    return path


@pytest.fixture
def folders(tmp_path):
    old = folder(tmp_path / "old", 1, [{"id": "walk"}, {"id": "jump"}], ("train", "val"))
    new = folder(tmp_path / "new", 2, [{"id": "walk", "replaces": "walk"}, {"id": "run"}])
    return [old, new]


def test_a_better_copy_replaces_a_clip_of_another_folder(folders):
    old, new = folders
    assert replaced(old, folders) == {"walk"} and not replaced(new, folders)
    assert not replaced(old, [old]), "without the better copy there is nothing better"
    _, clips = read_motion_capture(old, "train", replaced(old, folders))
    assert [(clip.name, clip.start, clip.stop) for clip in clips] == [("jump", 5, 10)]


@pytest.mark.parametrize("order", [1, -1])
def test_renders_move_as_all_folders_do(folders, order):
    motions = Motions.load(folders[::order], "train").clips
    assert {name: clip.flat[0] for name, clip in motions.items()} == {
        "jump": 1,
        "walk": 2,
        "run": 2,
    }


def test_only_folders_with_the_split_are_asked_for_it(folders):
    old, new = folders
    assert folders_with(folders, "val") == [old]
    with pytest.raises(MotionCaptureError, match="expected a folder with val.npz, got none"):
        folders_with([new], "val")


def test_motions_of_all_folders_are_drawn_together_and_one_is_validated_on(folders, tmp_path):
    pytest.importorskip("torch")
    from pose3d_ros.training.data.mocap import Mocap
    from pose3d_ros.training.data.source import sources
    from pose3d_ros.training.settings import TrainSettings

    rng = np.random.default_rng(0)
    for path in folders:  # people who stand, so that they can be sampled
        for split in ("train", "val"):
            if (file := path / f"{split}.npz").is_file():
                with np.load(file) as data:
                    arrays = dict(data)
                arrays["positions"] = rng.normal(0, 0.01, arrays["positions"].shape) + np.array(
                    [0, 0, 1]
                )
                np.savez(file, **arrays)
    for order in (1, -1):
        settings = TrainSettings(
            lifter="martinez", data=os.pathsep.join(map(str, folders[::order]))
        )
        (together,) = sources(settings, "train")
        assert isinstance(together, Mocap)
        assert len(together.newest) == 15, "a clip of the old folder is replaced"
        assert len(sources(settings, "val")) == 1
    settings = replace(settings, data_weights="3:1")  # of the new folder, and of the old one
    (together,) = sources(settings, "train")
    assert isinstance(together, Mocap) and together.probability is not None
    assert together.probability.reshape(3, 5).sum(1) == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    for wrong in ("3", "3:0", "3:much"):
        with pytest.raises(ValueError, match="expected 2 numbers above 0 separated by ':'"):
            sources(replace(settings, data_weights=wrong), "train")
    with pytest.raises(ValueError, match=r"expected a folder with val\.npz.* got none"):
        sources(TrainSettings(lifter="martinez", data=str(folders[1])), "val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.full((10, 22, 3), 1700.0)}, "in metres, within 1000 m"),
        ({"positions": np.zeros((10, 17, 3))}, "shape .*10, 17, 3.*expected"),
        ({"clip_start": [0, 8]}, "clip jump within the 10 frames"),
        ({"clip_start": [0, -5]}, "clip jump within the 10 frames"),
        ({"clip_start": [0], "clip_len": [5]}, "as many train clips in index.json"),
    ],
)
def test_what_no_capture_can_be_is_refused(tmp_path, change, message):
    path = folder(tmp_path / "a", 1, [{"id": "walk"}, {"id": "jump"}])
    with np.load(path / "train.npz") as data:
        arrays = {**data, **change}
    np.savez(path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        read_motion_capture(path, "train")
    assert "\n" not in str(error.value) and str(path) in str(error.value)
