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

"""Files and command lines of the version before names changed are still understood."""

import argparse
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from pose3d_ros.arguments import from_options
from pose3d_ros.cli.train import add_arguments
from pose3d_ros.training.data.shards import read_labels
from pose3d_ros.training.settings import OLD_NAMES, TrainSettings, with_current_names

CHANGED: dict[str, Any] = {
    "lifter": "rpsm-context",
    "channels": 16,
    "stages": 2,
    "levels": 2,
    "feature_channels": 3,
    "feature_dropout": 0.3,
    "instance_norm": True,
    "root_relative_depth": False,
    "weight_interpolation": 0.25,
    "init_from": "old.onnx",
    "feature_source": "hrnet-w32",
    "render_every": 7,
}


def test_every_setting_of_a_file_is_read_by_its_old_name():
    settings = TrainSettings(**CHANGED)
    new_to_old = {new: old for old, new in OLD_NAMES.items()}
    written = {new_to_old.get(name, name): value for name, value in asdict(settings).items()}
    assert written.keys() != asdict(settings).keys()
    assert TrainSettings(**with_current_names(json.loads(json.dumps(written)))) == settings


def test_old_options_are_understood_and_hidden():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    old = (
        "--lifter rpsm-context --channels 16 --stages 2 --levels 2 --look 3 --spoil 0.3 "
        "--instance --no-relief --keep 0.25 --start old.onnx --maps hrnet-w32 --fresh 7"
    )
    settings = from_options(parser.parse_args(old.split()), TrainSettings)
    assert settings == TrainSettings(**CHANGED)
    assert from_options(parser.parse_args([]), TrainSettings) == TrainSettings()
    shown = parser.format_help().split()
    assert "--init-from" in shown
    assert not [f"--{name}" for name in OLD_NAMES if f"--{name}" in shown]


def test_a_shard_with_landmark_z_is_read(tmp_path):
    depth = np.random.default_rng(0).normal(0, 0.3, (4, 17)).astype(np.float32)
    np.savez(tmp_path / "old.npz", landmark_z=depth, clip=np.zeros(4))
    labels = read_labels(tmp_path / "old.npz", ("root_relative_depth", "clip"))
    np.testing.assert_array_equal(labels["root_relative_depth"], depth)


def test_a_checkpoint_with_old_names_gives_the_same_joints(tmp_path):
    torch = pytest.importorskip("torch")
    from pose3d_ros.training.build import build
    from pose3d_ros.training.checkpoint import load

    settings = TrainSettings(lifter="rpsm-context", channels=16, stages=2, levels=2)
    network = build(settings).eval()
    new_to_old = {new: old for old, new in OLD_NAMES.items()}
    written = {new_to_old.get(name, name): value for name, value in asdict(settings).items()}
    (tmp_path / "settings.json").write_text(json.dumps(written))
    state = {
        name.replace("feature_projections.", "looks."): value
        for name, value in network.state_dict().items()
    }
    assert state.keys() != network.state_dict().keys()
    torch.save({"network": state}, tmp_path / "checkpoint.pt")
    loaded, found = load(tmp_path)
    assert found == settings
    inputs = [torch.randn(2, 3, 18, 3), torch.randn(2, 3, 17), None, torch.rand(2, 3, 17, 2)]
    features = torch.rand(2, 3, 48 * 16 * 16 + 144 * 8 * 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(*inputs, features)[0], network(*inputs, features)[0])
