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

"""Checkpoints of torch become files of numbers alone, whatever else they hold; what does not fit
is listed.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose3d_ros import inference
from pose3d_ros.cli.main import main

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from pose3d_ros.networks import create  # noqa: E402
from pose3d_ros.networks.checkpoint import convert, load  # noqa: E402

OPTIONS: dict[str, Any] = {"channels": 8, "filter_widths": [3]}


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return create("videopose3d", **OPTIONS).eval()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "volume_net."])
def test_a_published_checkpoint_gives_the_same_network(tmp_path, network, prefix, legacy):
    """As VideoPose3D's: parameters beside a generator's state, an optimiser, and in older files
    another format.
    """
    saved = {
        "epoch": 3,
        "random_state": np.random.RandomState(0),
        "lr": np.float64(1e-3),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        "model_pos": {prefix + name: value for name, value in network.state_dict().items()},
    }
    torch.save(saved, tmp_path / "old.bin", _use_new_zipfile_serialization=not legacy)
    again = load(
        convert(tmp_path / "old.bin", tmp_path / "new.safetensors", "videopose3d", **OPTIONS)
    )
    keypoints = torch.randn(2, 3, 17, 2)
    assert torch.equal(again(keypoints), network(keypoints))


def test_command_imports_to_onnx(tmp_path, network, capsys):
    torch.save(network.state_dict(), tmp_path / "old.pth")
    assert (
        main(
            [
                "models",
                "import",
                str(tmp_path / "old.pth"),
                "--as",
                "videopose3d",
                "--option",
                "channels=8",
                "--option",
                "filter_widths=[3]",
                "--output",
                str(tmp_path / "new.onnx"),
            ]
        )
        == 0
    )
    assert str(tmp_path / "new.onnx") in capsys.readouterr().out
    keypoints = torch.randn(4, 3, 17, 2)
    engine = inference.load(tmp_path / "new.onnx", "cpu", 1)
    found = engine({"keypoints": keypoints.numpy()})["joints"]
    engine.close()
    np.testing.assert_allclose(found, network(keypoints).detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("joints", [0, 17])
def test_hrnet_has_heat_maps_if_its_checkpoint_has(tmp_path, joints):
    """As the authors' pose networks have them, and their networks pre-trained on ImageNet do
    not.
    """
    whole: Any = create("hrnet-w32", width=4, joints=joints).eval()
    torch.save(whole.state_dict(), tmp_path / "old.pth")
    again = load(convert(tmp_path / "old.pth", tmp_path / "new.safetensors", "hrnet-w32", width=4))
    image = torch.randn(1, 3, 64, 64)
    maps, expected = again(image), whole(image)
    assert len(maps) == len(expected) == (5 if joints else 4)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    if joints:
        torch.testing.assert_close(maps[0], whole.final_layer(maps[1]))
        backbone = load(
            convert(
                tmp_path / "old.pth", tmp_path / "maps.safetensors", "hrnet-w32", width=4, joints=0
            )
        )
        assert all(torch.equal(a, b) for a, b in zip(backbone(image), expected[1:], strict=True))


def test_what_does_not_fit_is_listed(tmp_path, network, capsys):
    state = network.state_dict()
    state["head.weight"] = state.pop("shrink.weight")
    state["shrink.bias"] = torch.zeros(50)
    torch.save({"state_dict": state}, tmp_path / "old.pth")
    assert (
        main(
            [
                "models",
                "import",
                str(tmp_path / "old.pth"),
                "--as",
                "videopose3d",
                "--option",
                "channels=8",
                "--option",
                "filter_widths=[3]",
            ]
        )
        == 1
    )
    error = capsys.readouterr().err
    assert (
        "missing: shrink.weight; unexpected: head.weight; of another shape: shrink.bias [50]"
        in error
    )
    assert not (tmp_path / "old.safetensors").exists()
    with pytest.raises(ValueError, match=r"martinez: .*unexpected keyword argument 'frames'"):
        convert(tmp_path / "old.pth", tmp_path / "new.safetensors", "martinez", frames=9)


class Burglar:
    """Runs a function when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_in_a_checkpoint_runs(tmp_path, network, legacy):
    mark = tmp_path / "broken_into"
    torch.save(
        {"model": network.state_dict(), "extra": Burglar(mark)},
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    try:
        convert(tmp_path / "evil.pth", tmp_path / "new.safetensors", "videopose3d", **OPTIONS)
    except ValueError as error:
        assert "expected a checkpoint of torch" in str(error)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Burglar(mark)))
    assert mark.exists(), "a burglar that could not break in anywhere proves nothing"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps([1, 2])])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.pth: expected a checkpoint of torch") as caught:
        convert(path, tmp_path / "new.safetensors", "martinez")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"expected a file written by 'pose3d models import'"):
        load(path)
    with pytest.raises(
        ValueError, match=r"expected a name that ends with \.safetensors or \.onnx"
    ):
        convert(path, tmp_path / "new.bin", "martinez")
