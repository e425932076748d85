"""Installation of the package, by colcon or by pip."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "pose3d_ros"
ROOT = Path(__file__).parent


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """The files of a folder and where they are installed: at the same place below
    share/pose3d_ros.
    """
    files: dict[str, list[str]] = {}
    for path in sorted(ROOT.joinpath(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            files.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(files.items())


setup(
    name=NAME,
    version="0.1.0",
    description="3D human pose for robots: camera images in, tracked metric 3D skeletons out",
    author="pose3d_ros maintainers",
    maintainer="pose3d_ros maintainers",
    maintainer_email="maintainers@pose3d-ros.invalid",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"lib/{NAME}", ["examples/stop_when_near.py"]),  # for ros2 run
        *(
            entry
            for folder in ("config", "demo", "examples", "launch", "models")
            for entry in shared(folder)
        ),
    ],
    install_requires=["setuptools"],
    # Not tests_require: with it, colcon test runs no test at all and succeeds.
    extras_require={
        "test": ["pytest"],
        "train": [
            "av",
            "cdflib",
            "h5py",
            "moderngl",
            "onnxscript",
            "safetensors",
            "tensorboard",
            "torch",
            "tqdm",
        ],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "pose3d = pose3d_ros.cli.main:main",
            "monocular = pose3d_ros.nodes.entry:monocular",
            "multiview = pose3d_ros.nodes.entry:multiview",
            "video = pose3d_ros.nodes.entry:video",
        ],
    },
)
