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

"""The rules of who may import whom: they keep the package usable without ROS and without torch,
and every file readable with what lies below it only.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pose3d_ros"

# From the ground up. A file imports from its own layer and from those below; no circle runs
# through any files, of one layer neither. Imports inside functions count.
LAYERS = (
    {
        "camera",
        "lens",
        "text_files",
        "people",
        "skeleton",
        "settings",
        "arguments",
        "geometry",
        "kinematics",
        "metrics",
        "stopwatch",
        "stamps",
        "registry",
        "errors",
        "arrays",
        "resources",
        "drawing",
        "browser_view",
    },
    {"networks", "io", "tracking", "multiview", "place", "separation"},
    {"calibration", "model_store", "inference"},
    {"detection", "lifting"},
    {"pipeline", "training"},
    {"nodes", "evaluation", "offline", "batch"},
    {"profiling", "cli"},
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
ROS = re.compile(
    r"(rcl|ros|tf2|launch|ament)\w*|\w+_(msgs|interfaces|bridge)(_py)?|message_filters"
)
ROS_FREE = re.compile(r"rosbags")  # reads bags without ROS

# What is still to be mended: each set shrinks to nothing, and the tests fail when an entry is no
# longer true.
KNOWN_ARROWS_UP: set[str] = set()
KNOWN_TORCH: set[str] = set()


def module_name(path: Path) -> str:
    """'lifting.root' of its file; empty for the package's own ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or anywhere in it, for ours the file itself."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}:{node.lineno}: write the import with the package's name"
            )
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                ours = whole.removeprefix(f"{PACKAGE.name}.")
                names.add(whole if ours in MODULES else str(node.module))
    return names


def graph() -> dict[str, set[str]]:
    """Module -> the modules of this package that it imports."""
    ours = f"{PACKAGE.name}."
    edges = {}
    for module, path in MODULES.items():
        names = {name.removeprefix(ours) for name in imported(path) if f"{name}.".startswith(ours)}
        edges[module] = {name if name in MODULES else "" for name in names} - {module}
    return edges


def circles(edges: dict[str, set[str]]) -> Iterator[frozenset[str]]:
    """Sets of modules each of which imports, through others, all of them (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[frozenset[str]]:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in index:
                yield from visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            at = stack.index(module)
            component = frozenset(stack[at:])
            del stack[at:]
            if len(component) > 1:
                yield component

    for module in edges:
        if module not in index:
            yield from visit(module)


def room(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_only_nodes_import_ros_and_only_networks_and_training_torch(module):
    roots = {name.partition(".")[0] for name in imported(MODULES[module])}
    if room(module) != "nodes":
        ros = {name for name in roots if ROS.fullmatch(name) and not ROS_FREE.fullmatch(name)}
        assert not ros, "only nodes/ imports ROS"
    if room(module) not in ("networks", "training"):
        assert ("torch" in roots) == (module in KNOWN_TORCH), "only networks/, training/: torch"


def test_every_room_has_a_layer():
    rooms = {room(module) for module in MODULES} - {""}
    assert rooms <= LAYER_OF.keys(), "a new room: give it a layer in this test"
    # rooms that are still to come
    assert LAYER_OF.keys() - rooms <= {"geometry"}


def test_no_arrow_runs_up():
    up = {
        f"{module} -> {other}"
        for module, others in graph().items()
        for other in others
        if module and (not other or LAYER_OF[room(other)] > LAYER_OF[room(module)])
    }
    assert up == KNOWN_ARROWS_UP


def test_no_circle_runs_through_files():
    assert not set(circles(graph()))


def test_circles_are_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert set(circles(edges)) == {frozenset("abc"), frozenset("de")}


def test_every_error_class_has_the_one_base():
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }

    def has_it(name: str) -> bool:
        return name == "Pose3dError" or any(has_it(base) for base in bases.get(name, ()))

    assert len(bases) > 10 and [name for name in bases if not has_it(name)] == []


def test_images_to_people_without_ros_or_torch():
    code = (
        "import sys, pose3d_ros.pipeline, pose3d_ros.detection.topdown, "
        "pose3d_ros.detection.onestage, pose3d_ros.cli.main; sys.exit(' '.join({'rclpy', "
        "'torch', 'sensor_msgs'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
