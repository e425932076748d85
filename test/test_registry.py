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

"""A new detector or lifter is one file and one line, and objects do as well as names."""

from typing import Any

import numpy as np
import pytest
from bodies import STANDING_M
from toy_detector import Brightest

from pose3d_ros import Camera, MonocularPipeline, registry
from pose3d_ros.cli.main import main as cli
from pose3d_ros.lifting import LiftedPoses, Lifter
from pose3d_ros.profiling import run
from pose3d_ros.settings import PipelineSettings, SettingsError

CAMERA = Camera.from_fov(640, 480, 1.2)


class Upright(Lifter):
    """Everybody stands as the known body does."""

    name = "upright"

    def __call__(self, people, camera, settings, image_bgr=None, rays=None, up=None):
        poses = np.repeat(STANDING_M[None] - STANDING_M[0], len(people), 0)
        return LiftedPoses(poses, np.full(poses.shape[:2], 0.05))


@pytest.fixture
def registered(monkeypatch):
    """The one line."""
    monkeypatch.setitem(registry.DETECTORS, "brightest", "toy_detector:Brightest")


def image(x: int = 320, y: int = 200) -> np.ndarray:
    made = np.zeros((480, 640, 3), np.uint8)
    made[y, x] = 255
    return made


def test_a_registered_detector_runs_in_the_pipeline(registered):
    with MonocularPipeline(detector="brightest", lifter="martinez") as pipeline:
        for i in range(5):
            people = pipeline(image(), CAMERA, i * 33_000_000)
    assert len(people) == 1 and people.joints_m[0, 0, 2] == pytest.approx(4.0, abs=0.4)
    assert "brightest" in repr(pipeline)


def test_auto_takes_a_lifter_that_such_a_detector_can_feed(registered):
    settings = PipelineSettings(detector="brightest")
    with MonocularPipeline(settings) as pipeline:
        assert pipeline.lifter_name == "rpsm"
    with pytest.raises(
        SettingsError, match=r"depth \(blazepose, blazepose-heavy\), got 'brightest'"
    ):
        MonocularPipeline(settings, lifter="rpsm-context")


def test_settings_and_help_know_it(registered, capsys):
    with pytest.raises(SettingsError, match="detector: expected one of .*brightest; got 'x'"):
        PipelineSettings(detector="x")
    with pytest.raises(SystemExit):
        cli(["benchmark", "--help"])
    assert "brightest" in capsys.readouterr().out


def test_the_benchmark_measures_it(registered, monkeypatch, capsys):
    for name, value in {"ROUNDS": 1, "FRAMES": 2, "WARM_UP": 1}.items():
        monkeypatch.setattr(run, name, value)
        monkeypatch.setattr(f"pose3d_ros.cli.benchmark.{name}", value, raising=False)
    words = ["benchmark", "--detector", "brightest", "--lifter", "martinez", "--engine", "cpu"]
    assert cli([*words, "--people", "1"]) == 0
    shown = capsys.readouterr().out
    assert "\npose" in shown and "\nlift" in shown and "\ndetect" not in shown


def test_objects_are_taken_as_well_as_names():
    detector, lifter = Brightest(PipelineSettings()), Upright()
    with MonocularPipeline(detector=detector, lifter=lifter, smoothing=0.0) as pipeline:
        people = pipeline(image(), CAMERA, 0)
        assert (pipeline.detector_name, pipeline.lifter_name) == ("brightest", "upright")
        assert len(pipeline.detect(image(), 33_000_000)) == 1
    np.testing.assert_allclose(
        people.joints_m[0] - people.joints_m[0, 0], STANDING_M - STANDING_M[0], atol=1e-4
    )


def test_a_lifter_of_ones_own_is_registered_too(monkeypatch):
    monkeypatch.setitem(registry.LIFTERS, "upright", Upright)
    with MonocularPipeline(lifter="upright", detector=Brightest(PipelineSettings())) as pipeline:
        assert len(pipeline(image(), CAMERA, 0)) == 1


class Crowd(Brightest):
    name = "crowd"

    def __call__(self, image_bgr, stamp_ns, stopwatch=None):
        one = super().__call__(image_bgr, stamp_ns, stopwatch)
        many = one[[0] * 6]
        shift = 100.0 * np.arange(6)[:, None, None] - 250
        sure = np.repeat([[0.4], [0.9], [0.5], [0.8], [0.45], [0.95]], 17, 1)
        keypoints = many.keypoints_px + shift * [1, 0]
        return type(one)(one.skeleton, keypoints, sure, stamp_ns, one.image_size)


def test_of_too_many_people_the_best_stay_and_it_is_said_once(caplog):
    crowd = Crowd(PipelineSettings())
    with MonocularPipeline(detector=crowd, lifter=Upright(), max_people=3) as pipeline:
        for i in range(3):
            people = pipeline.detect(image(), i * 33_000_000)
    np.testing.assert_allclose(people.confidence[:, 0], [0.9, 0.8, 0.95])
    said = [record.getMessage() for record in caplog.records]
    assert said == ["6 people found, the best 3 are followed; set max_people to follow more"]
    assert caplog.records[0].name.startswith("pose3d_ros")


def test_what_goes_wrong_in_a_frame_does_not_reach_the_next():
    class Broken(Brightest):
        def __call__(self, image_bgr, stamp_ns, stopwatch=None):
            if stamp_ns == 2:
                raise RuntimeError("a network failed")
            return super().__call__(image_bgr, stamp_ns, stopwatch)

    detector = Broken(PipelineSettings())
    with MonocularPipeline(detector=detector, lifter=Upright()) as pipeline:
        first = pipeline(image(), CAMERA, 1)
        with pytest.raises(RuntimeError, match="a network failed"):
            pipeline(image(), CAMERA, 2)
        wrong: Any = "now"
        for arguments in ((wrong, CAMERA, 3), (image(), wrong, 3), (image(), CAMERA, wrong)):
            with pytest.raises(ValueError, match="expected a"):
                pipeline(*arguments)
        after = pipeline(image(), CAMERA, 33_000_000)
    assert first.ids.tolist() == after.ids.tolist()
    assert np.isfinite(after.joints_m).all()


def test_stamps_may_be_left_out_and_time_may_be_below_zero():
    with MonocularPipeline(detector=Brightest(PipelineSettings()), lifter=Upright()) as pipeline:
        one, two = (pipeline(image(), CAMERA) for _ in range(2))
        assert one.stamp_ns < two.stamp_ns and one.ids.tolist() == two.ids.tolist()
        pipeline.reset()
        ids = {
            int(pipeline(image(), CAMERA, i * 10_000_000 - 50_000_000).ids[0]) for i in range(9)
        }
        assert len(ids) == 1
        jumped = pipeline(image(), CAMERA, -2_000_000_000)  # a fresh start at once, no error
        assert len(jumped) == 1 and jumped.ids[0] not in ids
