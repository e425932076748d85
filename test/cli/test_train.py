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

"""``pose3d train`` says in one true line what it was not given."""

import json

import pytest

from pose3d_ros.cli.main import main

pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "data: expected the folder of motion capture or recordings to train on, got none"),
        (["--lifter", "context"], "data: expected the folder of motion capture or recordings"),
        (["--extra-joints", "--data", "a"], "extra-joints: expected --makehuman FOLDER of bodies"),
        (["--data", "nowhere"], "data: expected a folder, got 'nowhere', which is none"),
    ],
)
def test_without_data(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]
    assert not list(tmp_path.iterdir()), "nothing is written before it is known what to train on"


def test_a_folder_without_data(tmp_path, capsys):
    assert main(["train", "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert f"{tmp_path}/train: expected a folder with recordings" in capsys.readouterr().err


def test_motion_capture_that_is_cut_off(tmp_path, capsys):
    (tmp_path / "index.json").write_text(json.dumps({"clips": []}))
    (tmp_path / "train.npz").write_bytes(b"PK")
    assert main(["train", "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "train.npz: expected an npz with positions" in lines[0]
