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

"""Training samples by the settings of a training: read from folders, or rendered meanwhile."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from pose3d_ros.training.build import FEATURE_MAPS
from pose3d_ros.training.data.feature_samples import (
    FOLLOWED,
    FOUND,
    FeatureInputs,
    FeatureSamples,
    read_noise,
)
from pose3d_ros.training.data.image_clips import ImageInputs, ImageSamples
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.motion_capture import is_motion_capture, replaced
from pose3d_ros.training.data.recordings import Recordings
from pose3d_ros.training.data.shards import FEATURES_SUFFIX, NOT_STORED
from pose3d_ros.training.data.windows import Clips, LifterInputs
from pose3d_ros.training.rendering.online import CLIPS, RenderStream, ShardSpec
from pose3d_ros.training.settings import FEATURE_LIFTERS, TrainSettings

_FRAMES = 5  # of a rendered clip, at least: making a scene takes as long as rendering an image
_VALIDATION_SHARDS = 2


class Source(Protocol):
    """Training samples."""

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """``size`` random clips; ``varied`` with augmentation, for training."""
        ...


def lifter_inputs(settings: TrainSettings) -> LifterInputs:
    """The frames that a lifter takes, and its inputs and targets made of clips."""
    features = FeatureInputs(
        settings.clip,
        rolled=settings.uses_feature_maps,
        turned=settings.feature_source == "blazepose",
    )
    return {
        "rpsm": LifterInputs(settings.clip, 3, recurrent=True),
        "videopose3d": LifterInputs(27),
        "poseformer": LifterInputs(9),
        "martinez": LifterInputs(1),
        **dict.fromkeys(FEATURE_LIFTERS, features),
        "rpsm-images": ImageInputs(settings.clip, 3),
    }[settings.lifter]


def check_data(settings: TrainSettings) -> None:
    """Raise ``ValueError`` if there is no data to train on, or a folder of it is absent."""
    if not settings.data:
        raise ValueError(
            "data: expected the folder of motion capture or recordings to train on, got none; "
            "pass --data FOLDER, where FOLDER has index.json and train.npz, or is written by "
            "'pose3d dataset'"
        )
    for folder in settings.data.split(os.pathsep):
        if not Path(folder).is_dir():
            raise ValueError(f"data: expected a folder, got '{folder}', which is none")


def sources(settings: TrainSettings, split: str) -> list[Source]:
    """Sources of all folders of ``settings.data``; for validation only of the last one that has
    validation data.

    Raises ``ValueError`` or ``OSError``.
    """
    check_data(settings)
    if split == "val" and settings.makehuman:
        return [_rendered_validation(settings)]
    folders = settings.data.split(os.pathsep)
    if settings.makehuman and settings.lifter == "rpsm-images":
        folders = [folder for folder in folders if not is_motion_capture(folder)]
    noisy = {
        folder: settings.noise if len(folders) == 1 or is_motion_capture(folder) else ""
        for folder in folders
    }
    if split == "val":
        folders = [folder for folder in folders if _has_validation(folder)][-1:]
        if not folders:
            raise ValueError(
                f"data: expected a folder with val.npz, or recordings in val/, to measure on, "
                f"got none in {settings.data}; name one more that has it"
            )
    mocap = [Path(folder) for folder in noisy if is_motion_capture(folder)]
    of_folders = {
        folder: source(replace(settings, data=folder, noise=noisy[folder]), split, mocap)
        for folder in folders
    }
    captured = {name: part for name, part in of_folders.items() if isinstance(part, Mocap)}
    others = [part for part in of_folders.values() if not isinstance(part, Mocap)]
    if len(captured) < 2:
        return list(of_folders.values())
    weights = _weights(settings)
    joined = Mocap.joined(list(captured.values()), [weights[name] for name in captured])
    return [joined, *others]


def _weights(settings: TrainSettings) -> dict[str, float]:
    """What a minute of each folder of ``settings.data`` counts. Raises ``ValueError``."""
    folders = settings.data.split(os.pathsep)
    if not settings.data_weights:
        return dict.fromkeys(folders, 1.0)
    try:
        weights = [float(text) for text in settings.data_weights.split(os.pathsep)]
    except ValueError:
        weights = []
    if len(weights) != len(folders) or not all(0 < weight < math.inf for weight in weights):
        raise ValueError(
            f"data_weights: expected {len(folders)} numbers above 0 separated by '{os.pathsep}', "
            f"one for each folder of data, got '{settings.data_weights}'"
        )
    return dict(zip(folders, weights, strict=True))


def _has_validation(folder: str) -> bool:
    return (Path(folder) / "val.npz").is_file() or any(Path(folder, "val").glob("*.npz"))


def source(settings: TrainSettings, split: str, mocap: Sequence[Path] = ()) -> Source:
    """The source of the only folder in ``settings.data``; clips that one of the folders ``mocap``
    replaces are left out. Raises ``ValueError`` or ``OSError``.
    """
    data, offsets = Path(settings.data), lifter_inputs(settings).offsets
    captured = is_motion_capture(settings.data)
    if settings.noise and not captured and settings.lifter not in FEATURE_LIFTERS:
        raise ValueError(
            f"noise: recordings come with their own keypoints, leave it out; or is {data} meant "
            f"to be motion capture? Then it lacks index.json"
        )
    of_features = settings.lifter in FEATURE_LIFTERS
    if not captured and (of_features or _has_shards(settings)):
        samples = FeatureSamples.load(
            data,
            split,
            lifter_inputs(settings).frames,
            _values(settings) if of_features else 0,
            settings.clips,
            FOLLOWED if settings.loss == "sigma" else FOUND,
        )
        return _checked(settings, samples) if of_features else samples
    if settings.lifter == "rpsm-images":
        return ImageSamples.load(data, split, offsets, settings.size)
    if captured:
        noise = read_noise(Path(settings.noise), split) if settings.noise else None
        return Mocap.load(data, split, offsets, noise, replaced(data, mocap))
    return Recordings.load(data, split, offsets)


def render_stream(
    settings: TrainSettings, split: str = "train", rank: int = 0
) -> RenderStream[Source] | None:
    """People who are rendered while training, other ones in each process ``rank``; None without
    ``settings.makehuman``. Raises ``ValueError``.
    """
    if not settings.makehuman:
        return None
    if settings.lifter not in (*FEATURE_LIFTERS, "rpsm-images"):
        raise ValueError(
            f"makehuman: expected a lifter that sees more than keypoints "
            f"({', '.join(FEATURE_LIFTERS)}, rpsm-images), got {settings.lifter}"
        )
    if settings.feature_source != "blazepose":
        raise ValueError(
            f"makehuman: expected the feature maps of blazepose, the detector that runs on "
            f"rendered people, got feature_source {settings.feature_source}"
        )
    folders = settings.data.split(os.pathsep)
    mocap = tuple(Path(folder) for folder in folders if is_motion_capture(folder))
    if not mocap:
        raise ValueError(
            "makehuman: expected motion capture (a folder with index.json) in data, for the "
            "people's motions"
        )
    spec = ShardSpec(
        Path(settings.makehuman),
        mocap,
        split,
        (settings.seed, rank, int(split == "val")),
        CLIPS,
        max(settings.clip, _FRAMES),
        settings.lifter == "rpsm-images",
    )
    return RenderStream(
        spec,
        Path(settings.output) / "rendered" / f"{split}{rank}",
        settings.render_every,
        settings.workers,
        partial(_rendered, settings, split),
        resume=settings.resume,
    )


def _rendered_validation(settings: TrainSettings) -> Source:
    """The first shards of the validation subjects."""
    stream = render_stream(replace(settings, render_every=1), "val")
    assert stream is not None
    with closing(stream):
        stream.prepare(_VALIDATION_SHARDS - 1, 0)
        return stream.at(_VALIDATION_SHARDS - 1)


def _rendered(settings: TrainSettings, split: str, folders: Sequence[Path]) -> Source:
    if settings.lifter == "rpsm-images":
        return ImageSamples.read(folders, split, lifter_inputs(settings).offsets, settings.size)
    paths = [path for folder in folders for path in folder.glob("*.npz")]
    return _checked(settings, FeatureSamples.read(paths, settings.clip, _values(settings)))


def _values(settings: TrainSettings) -> int:
    """Size of a person's feature maps that are inputs of the lifter, in numbers."""
    if not settings.uses_feature_maps:
        return 0
    return sum(map(math.prod, FEATURE_MAPS[settings.feature_source][0][-settings.levels :]))


def _has_shards(settings: TrainSettings) -> bool:
    """Whether the data are rendered people and the lifter of keypoints can take them: they are
    seen each tenth of a second.
    """
    return settings.lifter in ("rpsm", "martinez") and any(
        Path(settings.data).glob(f"*/*{FEATURES_SUFFIX}")
    )


def _checked(settings: TrainSettings, samples: FeatureSamples) -> FeatureSamples:
    """The samples, if they have the inputs that the lifter takes. Raises ``ValueError``."""
    name = settings.feature_source
    stored = FEATURE_MAPS[name][0][NOT_STORED.get(name, 0) :]
    total = sum(map(math.prod, stored))
    values = {file.shape[1] for file in samples.files}
    if settings.uses_feature_maps and (values != {total} or settings.levels > len(stored)):
        shapes = ", ".join("x".join(map(str, shape)) for shape in stored)
        raise ValueError(
            f"feature_source: expected people with the {len(stored)} stored feature maps of "
            f"{name} ({shapes}; {total} values) and at most as many levels, got "
            f"{settings.levels} levels and people with {' or '.join(map(str, sorted(values)))} "
            f"values; change --feature-source, --levels or the data"
        )
    if settings.root_relative_depth and not samples.labels["root_relative_depth"].any():
        raise ValueError(
            "root_relative_depth: expected people with the detector's root-relative depth, got a "
            "detector without; train with --no-root-relative-depth"
        )
    return samples
