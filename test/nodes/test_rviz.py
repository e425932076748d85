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

"""RViz is looked for before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ament_index_python", reason="needs ROS 2")

from pose3d_ros.nodes.rviz import MissingRvizError, rviz_arguments
from pose3d_ros.resources import share


def install_rviz(prefix: Path) -> None:
    """As much of rviz2 as the ament index and we look at."""
    for path in ("share/ament_index/resource_index/packages/rviz2", "lib/rviz2/rviz2"):
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text("")


def test_without_rviz_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(MissingRvizError, match="needs rviz2, which is not installed: sudo apt"):
        rviz_arguments("pose3d.rviz")


def test_a_view_in_the_frame_of_the_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_rviz(tmp_path)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    view = str(share("config", "pose3d_rig.rviz"))
    assert rviz_arguments("pose3d_rig.rviz", "map") == ["-d", view, "-f", "map"]
    assert "Fixed Frame: world" in Path(view).read_text()
