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

"""People who are rendered while a lifter trains."""

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import SHARED

pytest.importorskip("torch")
pytest.importorskip("moderngl")

import torch  # noqa: E402

from pose3d_ros.training.data import source  # noqa: E402
from pose3d_ros.training.loop import train  # noqa: E402
from pose3d_ros.training.rendering import online  # noqa: E402
from pose3d_ros.training.rendering.online import RenderStream, ShardSpec  # noqa: E402
from pose3d_ros.training.rendering.renderer import Renderer, RenderError  # noqa: E402
from pose3d_ros.training.settings import TrainSettings  # noqa: E402

DATA = SHARED / "data"
SMALL: dict[str, Any] = {
    "makehuman": str(DATA / "makehuman"),
    "data": str(DATA / "cmu_mocap"),
    "clip": 2,
    "batch": 2,
    "validation": 4,
    "render_every": 2,
    "channels": 16,
}
OF_LIFTERS: dict[str, dict[str, Any]] = {
    "context": {"context": "sampled"},
    "rpsm-images": {"size": 32, "width": 0.125, "stages": 2},
}


@pytest.fixture(scope="module", autouse=True)
def needs_renders() -> None:
    if not (DATA / "makehuman").is_dir():
        pytest.skip("needs the assets in ../shared/data")
    try:
        Renderer((8, 8)).close()
    except RenderError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two clips of two pictures, of which one is seen at a time."""
    monkeypatch.setattr(online, "POOL", 1)
    monkeypatch.setattr(source, "CLIPS", 2)
    monkeypatch.setattr(source, "_FRAMES", 2)
    monkeypatch.setattr(source, "_VALIDATION_SHARDS", 1)


def made(folder: Path, **changes: Any) -> RenderStream[list[Path]]:
    spec = ShardSpec(DATA / "makehuman", (DATA / "cmu_mocap",), "val", (3,), 1, 1)
    return RenderStream(replace(spec, **changes), folder, 1, 1, list, resume=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_LIFTERS)
def test_training_on_new_people_resumes_bit_exact(tmp_path: Path, name: str):
    """Two steps see one shard, two the next; the resumed run has to render that one again."""
    settings = TrainSettings(lifter=name, steps=5, **{**SMALL, **OF_LIFTERS[name]})
    train(replace(settings, output=str(tmp_path / "whole")), stop_after=4)
    train(replace(settings, output=str(tmp_path / "part")), stop_after=2)
    rendered = tmp_path / "part" / "rendered" / "train0"
    (rendered / "00001").rename(tmp_path / "gone")
    train(replace(settings, output=str(tmp_path / "part"), resume=True), stop_after=4)
    states = [
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["network"]
        for run in ("whole", "part")
    ]
    for key, value in states[0].items():
        assert torch.isfinite(value).all() and torch.equal(value, states[1][key]), key
    assert (rendered / "00001").is_dir()


@pytest.mark.slow
def test_shards_differ_and_follow_from_their_numbers(tmp_path: Path):
    found = {}
    for run in ("a", "b"):
        people = made(tmp_path / run)
        for number in (0, 1):
            people.prepare(number, 0)
            with np.load(tmp_path / run / f"{number:05d}" / "00000.npz") as data:
                found[run, number] = data["joints_m"]
        people.prepare(1, 1)
        people.close()
        assert not (tmp_path / run / "00000").exists(), "what no step sees any more is dropped"
    np.testing.assert_array_equal(found["a", 0], found["b", 0])
    np.testing.assert_array_equal(found["a", 1], found["b", 1])
    assert np.abs(found["a", 0] - found["a", 1]).max() > 0.1


def test_the_end_of_a_renderer_ends_the_training(tmp_path: Path):
    people = made(tmp_path)
    people.prepare(0, 0)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(RuntimeError, match="ended with exit code -9"):
        people.prepare(3, 0)
    people.close()
    assert not multiprocessing.active_children()


def test_what_goes_wrong_in_a_renderer_is_told(tmp_path: Path):
    people = made(tmp_path / "out", makehuman=tmp_path)
    with pytest.raises(RuntimeError, match=f"rendering people: .*{tmp_path}"):
        people.prepare(0, 0)
    people.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lifter": "martinez"}, "sees more than keypoints"),
        ({"lifter": "context", "data": "nowhere"}, "index.json"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        source.render_stream(replace(TrainSettings(**SMALL), **changes))
