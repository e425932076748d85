"""The rules of who may import whom, which keep the package usable without ROS and without
torch.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pose3d_ros"

# From the ground up: a module imports from its own unit (a folder, or a file at the top) and from
# lower layers; on the ground and among the tools also from its neighbours.
GROUND = {
    "camera",
    "people",
    "skeleton",
    "settings",
    "resources",
    "drawing",
    "arguments",
    "stopwatch",
    "arrays",
    "encodings",
    "videos",
}
TOOLS = {"inference", "model_store", "models_command", "doctor", "tflite_to_onnx"}
ROOMS = {"detection", "lifting", "tracking", "multiview"}
BELOW = {
    **dict.fromkeys(GROUND, GROUND),
    **dict.fromkeys(TOOLS, GROUND | TOOLS),
    "models_command": GROUND | TOOLS | ROOMS | {"networks", "pipeline"},
    **dict.fromkeys(ROOMS, GROUND | TOOLS),
    "pipeline": GROUND | TOOLS | ROOMS,
    "nodes": GROUND | TOOLS | ROOMS | {"pipeline"},
    # beside the flow: the command, and what makes and judges models
    "calibration": GROUND | TOOLS | ROOMS,
    "cli": set(),
    "benchmark": GROUND | TOOLS | ROOMS | {"doctor", "pipeline", "nodes", "evaluation"},
    "networks": {"skeleton"},
    "training": GROUND | TOOLS | ROOMS | {"pipeline", "networks"},
    "evaluation": GROUND | TOOLS | ROOMS | {"pipeline", "training"},
}
ROS = re.compile(
    r"(rcl|ros|tf2|launch|ament)\w*|\w+_(msgs|interfaces|bridge)(_py)?|message_filters"
)
ROS_FREE = re.compile(r"rosbags")  # reads bags without ROS

MODULES = sorted(PACKAGE.rglob("*.py"))


def unit(module: str) -> str:
    """'lifting' of 'pose3d_ros.lifting.root'; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}:{node.lineno}: write the import with the package's name"
            )
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path):
    here = place(path)
    names = imported(path)
    roots = {name.partition(".")[0] for name in names}
    if here != "nodes":
        ros = {root for root in roots if ROS.fullmatch(root) and not ROS_FREE.fullmatch(root)} - {
            "pose3d_ros"
        }
        assert not ros, "only nodes/ imports ROS"
    if here not in ("networks", "training") and path.stem != "torch_engine":
        assert "torch" not in roots, "only networks/, training/ and the torch engine import torch"
    if here != "__init__":
        assert here in BELOW, "a new room: give it a layer in this test"
        ours = {unit(name) for name in names if name.partition(".")[0] == "pose3d_ros"} - {here}
        assert ours <= BELOW[here], f"{here} is not above {sorted(ours - BELOW[here])}"


def test_images_to_people_without_ros_or_torch():
    code = (
        "import sys, pose3d_ros.pipeline, pose3d_ros.detection.topdown, "
        "pose3d_ros.detection.onestage, "
        "pose3d_ros.cli.main; sys.exit(' '.join({'rclpy', 'torch', 'sensor_msgs'} & "
        "set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
