"""One's own lifter, taught by one's own cameras: ``pose3d train --from-rig``.

The people in a recording of several calibrated cameras are labelled by these (``rig``), and a
lifter that exists is trained on with them, beside what it was trained on before, so that it does
not forget.
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
from pose3d_ros.training import build, loop, onnx_weights
from pose3d_ros.training.build import SIGHTED, TrainSettings
from pose3d_ros.training.data import shards
from pose3d_ros.training.data.recordings import SPLITS, write
from pose3d_ros.training.rig.labels import Label, label
from pose3d_ros.training.rig.observations import Watched, in_bag, in_videos, say
from pose3d_ros.training.rig.samples import recordings, seen_people

VALIDATION = (
    0.2  # the last part of the recording is kept out of the training, to see what it brought
)
CLIP = 5  # tenths of a second, of lifters with a state: people are seldom whole in view for longer
FINE: dict[str, Any] = {
    "steps": 300,
    "batch": 64,
    "learning_rate": 1e-4,
    "validation": 256,
    "keep": 0.5,
}
"""Where the settings are those of a training from the beginning, a shorter and gentler one takes
their place.
"""
_ANEW = TrainSettings()


def collect(source: Path, rig_path: Path | None, out: Path, sighted: bool) -> str:
    """Write the samples of a recording to ``out``/train and ``out``/val; returns how many they
    are, in words.

    ``source``: a rig file with videos, or a rosbag2 with pictures or 2D poses of the cameras of
    ``rig_path``. ``sighted``: for lifters that look at what else the detector saw, otherwise
    recordings. Raises ``ValueError``.
    """
    from_bag = is_bag(source)
    if from_bag and rig_path is None:
        raise ValueError("rig: expected the rig file of the cameras in the bag")
    rig = read_rig(rig_path if from_bag and rig_path else source)
    if not rig.posed:
        raise ValueError(
            "rig: expected where the cameras are, got intrinsics only; 'pose3d calibrate "
            "extrinsics' "
            "measures it"
        )
    out.mkdir(parents=True, exist_ok=True)
    watched = (in_bag if from_bag else in_videos)(source, rig, out if sighted else None)
    try:
        return store(
            watched, label([one.camera for one in watched], [one.pictures for one in watched]), out
        )
    finally:
        for one in watched:
            if one.maps is not None:
                one.maps.close()


def store(watched: list[Watched], labels: list[Label], out: Path) -> str:
    """Write what the labels (of ``watched``'s cameras, by their places in it) teach; returns
    ``collect``'s words.
    """
    stamps = [people.stamp_ns for one in watched for people in one.pictures]
    begin, end = min(stamps, default=0), max(stamps, default=0)
    last_ns = end - VALIDATION * (end - begin)
    samples = dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
        for old in (*(out / split).glob("*.npz"), *(out / split).glob("*.npy")):
            old.unlink()
        clip = 0
        for c, one in enumerate(watched):
            own = [
                each
                for each in labels
                if each.camera == c
                and (one.pictures[each.picture].stamp_ns > last_ns) == (split == "val")
            ]
            if one.maps is None:
                for recording in recordings(one.name, one.camera, one.pictures, own):
                    write(out, split, recording)
                    samples[split] += len(recording)
                continue
            rows, maps = seen_people(one.camera, one.pictures, own, one.maps, clip)
            if rows:
                shards.write(out / split / f"{one.name}.npz", [(rows, maps)])
                clip = int(rows["clip"].max()) + 1
                samples[split] += len(maps)
    pictures = sum(len(one.pictures) for one in watched)
    if not samples["train"]:
        raise ValueError(
            f"from_rig: expected people whom two cameras or more see where they are, got none in "
            f"{pictures} pictures: do the recordings begin in the same moment (in a bag: do the "
            f"clocks "
            f"agree that stamped them), and do the cameras stand where the rig file says ('pose3d "
            f"calibrate refine')?"
        )
    return (
        f"{len(watched)} cameras, {pictures} pictures, {(end - begin) * 1e-9:.0f} s: "
        f"{samples['train']} labelled "
        f"people to train on and {samples['val']} to measure on"
    )


def teach(settings: TrainSettings, source: Path, rig: Path | None) -> Path:
    """Collect the samples of a recording into the output's folder ``own``, and ``go_on`` with
    them.

    Raises ``ValueError``.
    """
    if (maps := fine(settings, _begun(settings)).maps) != "blazepose":
        raise ValueError(
            f"from_rig: expected a lifter of the embedded detector's feature maps, with which it "
            f"looks at "
            f"people, got one of {maps}"
        )
    own = Path(settings.output) / "own"
    say(collect(source, rig, own, settings.lifter in SIGHTED))
    return go_on(settings, own)


def go_on(settings: TrainSettings, samples: Path) -> Path:
    """Train from the shipped lifter or ``settings.start`` with one's own samples, and say what
    that changed.

    Returns the ONNX file. Raises ``ValueError``.
    """
    begun = _begun(settings)
    settings = fine(settings, begun)
    own = replace(settings, data=str(samples), noise="")
    folders = {"own people": own, **({settings.data: settings} if settings.data else {})}
    try:
        build.sources(own, "val")
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
    several = [settings.data, own.data] if "own people" in folders else [own.data, settings.data]
    before = {name: score(of, begun) for name, of in folders.items()}
    path = loop.train(replace(settings, data=os.pathsep.join(filter(None, several))))
    for name, of in folders.items():
        after = score(of, path)
        say(
            f"{name}: "
            + ", ".join(
                f"{label} {before[name][key]:.1f} -> {after[key]:.1f} mm"
                for label, key in (("MPJPE", "mpjpe_mm"), ("PA-MPJPE", "pa_mpjpe_mm"))
            )
        )
    return path


def _begun(settings: TrainSettings) -> Path:
    return Path(settings.start) if settings.start else locate(f"lifter-{settings.lifter}")


def fine(settings: TrainSettings, begun: Path) -> TrainSettings:
    """The settings to go on from a lifter with: its form, and where nothing else was asked for,
    ``FINE``.
    """
    changed = replace(settings, start=str(begun), **onnx_weights.form(begun, settings.lifter))
    changed = replace(
        changed,
        **{
            name: value
            for name, value in FINE.items()
            if getattr(settings, name) == getattr(_ANEW, name)
        },
    )
    return replace(changed, clip=min(changed.clip, CLIP)) if "rpsm" in changed.lifter else changed


def score(settings: TrainSettings, path: Path) -> dict[str, float]:
    """Errors of an ONNX lifter on the validation clips of a folder."""
    network = build.build(settings)
    onnx_weights.go_on(network, path)
    rng = np.random.default_rng(settings.seed)
    inputs, target_m = build.view(settings)(
        build.sources(settings, "val")[-1].sample(rng, settings.validation, varied=False)
    )
    device = torch.device("cpu")
    return loop.evaluate(network, [(loop.on(device, inputs), loop.on(device, target_m)[0])])
