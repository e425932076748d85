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

"""Fine-tuning of a lifter on people before one's own cameras: ``pose3d train --from-rig``.

The people in a recording of several calibrated cameras are labelled by these (``labels``), and an
existing lifter is trained on them, together with the data that it was trained on before, so that
it does not forget.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose3d_ros.io.bags import is_bag
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.model_store.store import locate
from pose3d_ros.training import loop, onnx_weights
from pose3d_ros.training.checkpoint import build_with_base
from pose3d_ros.training.data import shards
from pose3d_ros.training.data.recordings import SPLITS, write
from pose3d_ros.training.data.source import lifter_inputs, sources
from pose3d_ros.training.rig.labels import ImageLabels, label
from pose3d_ros.training.rig.observations import CameraObservations, in_bag, in_videos, say
from pose3d_ros.training.rig.samples import labelled_features, recordings
from pose3d_ros.training.settings import FEATURE_LIFTERS, TrainSettings

VALIDATION = 0.2
"""Share of the recording, its end, that is kept out of the training, to measure on."""
CLIP = 5
"""Tenths of a second, of lifters with a state: people are seldom whole in view for longer."""
FINETUNE_DEFAULTS: dict[str, Any] = {
    "steps": 300,
    "batch": 64,
    "learning_rate": 1e-4,
    "validation": 256,
    "weight_interpolation": 0.5,
}
"""Values of settings that are still as in ``TrainSettings``: a shorter and gentler training."""
_TRAIN_DEFAULTS = TrainSettings()


def collect(source: Path, rig_path: Path | None, out: Path, features: bool) -> str:
    """Write the samples of a recording to ``out``/train and ``out``/val; returns their numbers in
    words.

    ``source``: a rig file with videos, or a rosbag2 with images or 2D poses of the cameras of
    ``rig_path``. ``features``: shards for lifters of features, else recordings. Raises
    ``ValueError``.
    """
    from_bag = is_bag(source)
    if from_bag and rig_path is None:
        raise ValueError("rig: expected the rig file of the cameras in the bag")
    rig = read_rig(rig_path if from_bag and rig_path else source)
    if not rig.posed:
        raise ValueError(
            "rig: expected where the cameras are, got intrinsics only; 'pose3d calibrate "
            "extrinsics' measures it"
        )
    out.mkdir(parents=True, exist_ok=True)
    observed = (in_bag if from_bag else in_videos)(source, rig, out if features else None)
    try:
        labels = label([one.camera for one in observed], [one.images for one in observed])
        return store(observed, labels, out)
    finally:
        for one in observed:
            if one.maps is not None:
                one.maps.close()


def store(observed: list[CameraObservations], labels: list[ImageLabels], out: Path) -> str:
    """Write the samples of labelled observations, whose cameras the labels number in order;
    returns as ``collect``. Raises ``ValueError``.
    """
    stamps = [people.stamp_ns for one in observed for people in one.images]
    begin, end = min(stamps, default=0), max(stamps, default=0)
    last_ns = end - VALIDATION * (end - begin)
    samples = dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
        for old in (*(out / split).glob("*.npz"), *(out / split).glob("*.npy")):
            old.unlink()
        clip = 0
        for c, one in enumerate(observed):
            own = [
                each
                for each in labels
                if each.camera == c
                and (one.images[each.image].stamp_ns > last_ns) == (split == "val")
            ]
            if one.maps is None:
                for recording in recordings(one.name, one.camera, one.images, own):
                    write(out, split, recording)
                    samples[split] += len(recording)
                continue
            rows, maps = labelled_features(one.camera, one.images, own, one.maps, clip)
            if rows:
                shards.write(out / split / f"{one.name}.npz", [(rows, maps)])
                clip = int(rows["clip"].max()) + 1
                samples[split] += len(maps)
    images = sum(len(one.images) for one in observed)
    if not samples["train"]:
        raise ValueError(
            f"from_rig: expected people on whose joints two cameras or more agree, got none in "
            f"{images} images: do the recordings begin in the same moment (in a bag: do the "
            f"clocks agree that stamped them), and do the cameras stand where the rig file says "
            f"('pose3d calibrate refine')?"
        )
    return (
        f"{len(observed)} cameras, {images} images, {(end - begin) * 1e-9:.0f} s: "
        f"{samples['train']} labelled people to train on and {samples['val']} to measure on"
    )


def finetune_from_rig(settings: TrainSettings, source: Path, rig: Path | None) -> Path:
    """Collect the samples of a recording into ``own`` in the output folder, and fine-tune on them.

    Returns the ONNX file. Raises ``ValueError``.
    """
    source_of_maps = finetune_settings(settings, _initial_model(settings)).feature_source
    if source_of_maps != "blazepose":
        raise ValueError(
            f"from_rig: expected a lifter of the feature maps of blazepose, the detector that "
            f"runs on the recording, got one of {source_of_maps}"
        )
    own = Path(settings.output) / "own"
    say(collect(source, rig, own, settings.lifter in FEATURE_LIFTERS))
    return finetune(settings, own)


def finetune(settings: TrainSettings, samples: Path) -> Path:
    """Train the shipped lifter or ``settings.init_from`` on a folder of samples, beside
    ``settings.data``; prints the errors before and after.

    Returns the ONNX file. Raises ``ValueError``.
    """
    model = _initial_model(settings)
    settings = finetune_settings(settings, model)
    own = replace(settings, data=str(samples), noise="")
    folders = {"own people": own, **({settings.data: settings} if settings.data else {})}
    try:
        sources(own, "val")
    except ValueError as error:
        if not settings.data:
            raise ValueError(
                f"{error}; a longer recording has enough to keep some for validation"
            ) from None
        say(
            f"measured on {settings.data} alone: too few of one's own people in the last part of "
            f"the recording"
        )
        del folders["own people"]
    # The last folder is the one that is validated on.
    data = [settings.data, own.data] if "own people" in folders else [own.data, settings.data]
    before = {name: score(of, model) for name, of in folders.items()}
    path = loop.train(replace(settings, data=os.pathsep.join(filter(None, data))))
    for name, of in folders.items():
        after = score(of, path)
        say(
            f"{name}: "
            + ", ".join(
                f"{metric} {before[name][key]:.1f} -> {after[key]:.1f} mm"
                for metric, key in (("MPJPE", "mpjpe_mm"), ("PA-MPJPE", "pa_mpjpe_mm"))
            )
        )
    return path


def _initial_model(settings: TrainSettings) -> Path:
    return Path(settings.init_from) if settings.init_from else locate(f"lifter-{settings.lifter}")


def finetune_settings(settings: TrainSettings, model: Path) -> TrainSettings:
    """The settings to fine-tune an ONNX lifter with: its architecture, and ``FINETUNE_DEFAULTS``
    in place of the defaults of ``TrainSettings``. Raises ``ValueError``.
    """
    changed = replace(
        settings,
        init_from=str(model),
        **onnx_weights.architecture_of(model, settings.lifter),
        **{
            name: value
            for name, value in FINETUNE_DEFAULTS.items()
            if getattr(settings, name) == getattr(_TRAIN_DEFAULTS, name)
        },
    )
    return replace(changed, clip=min(changed.clip, CLIP)) if "rpsm" in changed.lifter else changed


def score(settings: TrainSettings, path: Path) -> dict[str, float]:
    """Errors of an ONNX lifter on the validation clips of a folder."""
    network = build_with_base(settings)
    onnx_weights.load_weights(network, path)
    rng = np.random.default_rng(settings.seed)
    clips = sources(settings, "val")[-1].sample(rng, settings.validation, varied=False)
    inputs, target_m = lifter_inputs(settings)(clips)
    device = torch.device("cpu")
    return loop.evaluate(
        network, [(loop.to_device(device, inputs), loop.to_device(device, target_m)[0])]
    )
