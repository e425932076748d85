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

"""``pose3d calibrate convert``: the advice of other messages, followed."""

import re
import shlex

import numpy as np
import pytest
import yaml

from pose3d_ros.cli.main import main
from pose3d_ros.io.rig_file import namespace_of, read_rig
from pose3d_ros.io.rig_formats import RigFileError


def toml(units_per_m: float, names: tuple[str, str], extra: str = "") -> str:
    return "".join(
        f"['{name}']\nsize = [1280, 720]\nmatrix = [[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]\n"
        f"rotation = [0.0, {n / 2}, 0.0]\ntranslation = [{2.0 * n * units_per_m}, 0.0, 0.0]\n"
        f"{extra}"
        for n, name in enumerate(names)
    )


def test_the_advice_on_units_works_as_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibration.toml").write_text(toml(100, ("a", "b")))
    with pytest.raises(RigFileError) as caught:
        read_rig("calibration.toml")
    scale = re.search(r"2 m if in centimetres \(scale ([\d.]+)\)", str(caught.value))
    command = re.search(r"'pose3d (calibrate convert .*?)'", str(caught.value))
    assert scale and command
    words = command[1].replace("FILE", "calibration.toml").replace("SCALE", scale[1])
    assert main(shlex.split(words)) == 0
    first, second = read_rig("rig.yaml").cameras.values()
    np.testing.assert_allclose(np.linalg.norm(first.position_m - second.position_m), 2)


def test_the_advice_on_namespaces_works_as_it_is_given(tmp_path):
    (tmp_path / "rig.toml").write_text(toml(1, ("cam-left", "cam-right")))
    rig = read_rig(tmp_path / "rig.toml")
    with pytest.raises(RigFileError, match="'pose3d calibrate convert FILE rig.yaml' writes one"):
        namespace_of("cam-left", rig.sources.get("cam-left", {}))
    out = tmp_path / "rig.yaml"
    assert main(["calibrate", "convert", str(tmp_path / "rig.toml"), str(out)]) == 0
    data = yaml.safe_load(out.read_text())
    data["cameras"]["cam-left"]["namespace"] = "left"
    out.write_text(yaml.safe_dump(data))
    rig = read_rig(out)
    assert namespace_of("cam-left", rig.sources["cam-left"]) == "left"


def test_videos_are_found_from_the_new_files_folder(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "rig.toml").write_text(toml(1, ("a", "b"), "video = 'clip.mp4'\n"))
    out = tmp_path / "new" / "rig.yaml"
    assert main(["calibrate", "convert", str(tmp_path / "rig.toml"), str(out)]) == 0
    video = read_rig(out).sources["a"]["video"]
    assert (out.parent / video).resolve() == (tmp_path / "clip.mp4").resolve()


def test_videos_and_devices_are_written_for_the_cameras_that_are_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "rig.toml").write_text(toml(1, ("a", "b")))
    words = ["calibrate", "convert", "rig.toml", "new/rig.yaml", "--video"]
    assert main([*words, "a=clip.mp4", "b=/dev/video2"]) == 0
    sources = read_rig(tmp_path / "new" / "rig.yaml").sources
    assert sources == {"a": {"video": "../clip.mp4"}, "b": {"video": "/dev/video2"}}
    assert main([*words, "c=clip.mp4"]) != 0
    assert "--video: expected one of a, b, got 'c'" in capsys.readouterr().err
    assert main([*words, "a=nothing.mp4"]) != 0
    assert "'nothing.mp4', which does not exist" in capsys.readouterr().err


def test_a_scale_that_does_not_mend_the_units_is_an_error_in_a_line(tmp_path, capsys):
    (tmp_path / "rig.toml").write_text(toml(1000, ("a", "b")))
    out = tmp_path / "rig.yaml"
    assert main(["calibrate", "convert", str(tmp_path / "rig.toml"), str(out)]) != 0
    said = capsys.readouterr().err.strip()
    assert "2000 m apart" in said and "\n" not in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("rig.toml", "expected a file that ends with .yaml or .yml, got 'rig.toml'"),
        ("nowhere/rig.yaml", "expected a folder that is there, got nowhere"),
    ],
)
@pytest.mark.parametrize("step", [("convert", "rig.yaml"), ("time", "rig.yaml", "--output")])
def test_an_output_that_cannot_be_is_said_before_the_work(step, output, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", *step, output])
    assert said in capsys.readouterr().err
