"""What can be trained: each lifter's network, what it is shown, and where that comes from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pose3d_ros.networks.context_poseformer import BLAZEPOSE, HRNET32, HRNET48
from pose3d_ros.networks.feature_lifters import SPREAD, ContextLifter, RPSMContext
from pose3d_ros.networks.poseformer import PoseFormer
from pose3d_ros.networks.rpsm import RPSM, RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.settings import Settings, setting
from pose3d_ros.training.data.detector_noise import Detector
from pose3d_ros.training.data.feature_samples import CropView, SeenPeople, recorded_detector
from pose3d_ros.training.data.image_clips import Pictures, PictureView
from pose3d_ros.training.data.mocap import Mocap
from pose3d_ros.training.data.recordings import Recordings
from pose3d_ros.training.data.shards import NOT_STORED
from pose3d_ros.training.data.windows import Clips, View
from pose3d_ros.training.rendering.online import CLIPS, Fresh, Recipe

LIFTERS = (
    "rpsm",
    "videopose3d",
    "poseformer",
    "martinez",
    "context",
    "context-t",
    "rpsm-context",
    "rpsm-images",
)
SIGHTED = ("context", "context-t", "rpsm-context")
"""Those that look at what else the detector saw."""
MAPS = {
    "blazepose": (BLAZEPOSE, SPREAD),
    "hrnet-w32": (HRNET32, (1.0,) * 4),
    "hrnet-w48": (HRNET48, (1.0,) * 4),
}
"""Detectors' feature maps, and what they are divided by."""
CHECKPOINT = "checkpoint.pt"
_FRAMES = 5  # of a rendered clip, at least: making a scene takes as long as rendering a picture
_VALIDATION = 2  # shards


@dataclass(frozen=True)
class TrainSettings(Settings):
    """What ``pose3d train`` does."""

    lifter: str = setting(
        "rpsm",
        "Lifter to train: rpsm carries a state over frames a tenth of a second apart; "
        "videopose3d sees 27 causal frames, poseformer 9, martinez one; context one, the "
        "detector's "
        "guess of depth and its feature maps, context-t several such; rpsm-context carries a "
        "state "
        "and sees these; rpsm-images is RPSM from pictures",
        choices=LIFTERS,
    )
    data: str = setting(
        "",
        "Folder of motion capture (train.npz, val.npz and index.json, joint positions at 30 Hz), "
        "or of recordings (train/ and val/, see 'pose3d dataset'); for context, what 'pose3d "
        "render "
        "features' or 'pose3d dataset features' wrote. Of several, apart by ':', each step takes "
        "a "
        "batch from each; the last is validated on",
    )
    noise: str = setting(
        "",
        "npz of a detector's errors on labelled pictures (pose3d render noise) for motion "
        "capture, or a folder of 'pose3d render features', which tells how it guesses depth as "
        "well; "
        "empty trains on exact keypoints",
    )
    makehuman: str = setting(
        "",
        "Folder of bodies ('pose3d render'): people with the motions of the motion capture in "
        "data are rendered while training, always new ones, and a batch of them taken in every "
        "step; new ones of the validation subjects are measured on",
    )
    fresh: int = setting(
        20, "With makehuman: steps after which the next 64 clips take part", low=1, high=1_000_000
    )
    start: str = setting(
        "",
        "ONNX file of the same lifter whose weights to go on from; empty starts from random ones",
    )
    output: str = setting(
        "output/train", "Folder for the checkpoint, the curve and the exported model"
    )
    steps: int = setting(10000, "Optimiser steps", low=1, high=10_000_000)
    batch: int = setting(256, "Clips per step, on each GPU", low=2, high=65536)
    accumulate: int = setting(
        1,
        "Parts that a step's clips are taken in, one after the other, to save memory",
        low=1,
        high=1024,
    )
    channels: int = setting(
        384,
        "Width of the network (rpsm: units of the LSTM and of the layers before it; "
        "context: of a joint's tokens together, of which there are one more than levels; the "
        "paper's has 640)",
        low=8,
        high=4096,
    )
    stages: int = setting(3, "rpsm: stages", low=1, high=16)
    clip: int = setting(
        10, "rpsm, context: frames of a training clip; 1 is the form without time", low=1, high=100
    )
    size: int = setting(
        368, "rpsm-images: side of the pictures, a multiple of 8", low=16, high=1024
    )
    width: float = setting(
        1.0,
        "rpsm-images: width of the convolutions; 0.5 at 256 px is for CPUs",
        low=0.01,
        high=4.0,
    )
    pretrain_steps: int = setting(
        0,
        "rpsm-images: steps in which the 2D pose module first learns joints, in single "
        "pictures, batch times clip of them each",
        low=0,
        high=10_000_000,
    )
    pretraining: str = setting(
        "heatmaps",
        "How it learns them: heatmaps by their squared error, integral by the error "
        "of their soft-argmax (Sun et al., 2018)",
        choices=("heatmaps", "integral"),
    )
    maps: str = setting(
        "blazepose",
        "context, rpsm-context: the detector whose feature maps to look at; those of "
        "HRNet are in what 'pose3d dataset features' wrote",
        choices=tuple(MAPS),
    )
    levels: int = setting(
        1,
        "context, rpsm-context: how many of the detector's feature maps to look at, the deepest "
        "first",
        low=0,
        high=4,
    )
    relief: bool = setting(True, "context, rpsm-context: look at the detector's guess of depth")
    look: int = setting(
        8, "rpsm-context: channels of each joint's look at each feature map", low=1, high=256
    )
    spoil: float = setting(
        0.2,
        "context, rpsm-context: rate at which channels and whole people's maps are left out in "
        "training",
        low=0.0,
        high=0.9,
    )
    instance: bool = setting(False, "context, rpsm-context: standardise each person's maps")
    clips: int = setting(
        0,
        "context, rpsm-context: take the first so many clips of each folder; 0 takes all",
        low=0,
        high=100_000_000,
    )
    context: str = setting(
        "deformable",
        "context: sample the feature maps around the joints where attention says "
        "(deformable) or at the joints alone (sampled); none does without them",
        choices=("deformable", "sampled", "none"),
    )
    base: str = setting(
        "",
        "Output folder of a training to start from: for context of a martinez, whose answer it "
        "corrects; for rpsm-context of an rpsm, which it goes on training",
    )
    keep: float = setting(
        0.0,
        "With start, and rpsm-context with base: share of the weights it began with in the "
        "exported ones; half keeps what it knew of people unlike the new data (WiSE-FT, Wortsman "
        "et "
        "al., 2022)",
        low=0.0,
        high=1.0,
    )
    fusion: bool = setting(
        True, "context: let the keypoint and the levels of the feature maps attend to each other"
    )
    dropout: float = setting(
        0.1, "Dropout rate (poseformer and context: of whole paths)", low=0.0, high=0.9
    )
    loss: str = setting(
        "mpjpe",
        "mpjpe: mean distance of joints; mse: squared distance, as the paper of RPSM has it",
        choices=("mpjpe", "mse"),
    )
    bone_ratio: float = setting(
        0.0, "Weight of the variance of bone ratios (Zhou et al., 2017)", low=0.0, high=100.0
    )
    symmetry: float = setting(
        0.0, "Weight of the difference between left and right bones", low=0.0, high=100.0
    )
    velocity: float = setting(
        0.0, "rpsm: weight of the velocity error (Hossain and Little, 2018)", low=0.0, high=100.0
    )
    learning_rate: float = setting(
        1e-3, "Peak learning rate of AdamW; rpsm-images wants 3e-4", low=1e-7, high=1.0
    )
    schedule: str = setting(
        "cosine",
        "How the rate falls: cosine to zero; exponential by 0.99 each fiftieth of the "
        "steps (the 50 epochs of Context-Aware PoseFormer)",
        choices=("cosine", "exponential"),
    )
    amp: bool = setting(
        False, "Compute in bfloat16 where it is safe: twice as fast on CPUs with AVX512-BF16"
    )
    validation: int = setting(
        4096,
        "Clips of the validation split to measure on, 40 times in a training",
        low=1,
        high=1_000_000,
    )
    device: str = setting(
        "auto",
        "Where to compute; auto takes a GPU if there is one. Several: torchrun "
        "--nproc-per-node=GPUS -m pose3d_ros.cli train ...",
        choices=("auto", "cpu", "cuda"),
    )
    seed: int = setting(0, "Seed of weights and samples", low=0, high=2**31 - 1)
    threads: int = setting(1, "CPU threads of the optimiser", low=1, high=256)
    workers: int = setting(
        1,
        "Processes that make the samples, and with makehuman as many that render; pictures need "
        "several beside a GPU",
        low=1,
        high=256,
    )
    resume: bool = setting(False, "Go on from the checkpoint in the output folder")


class Source(Protocol):
    """Training samples."""

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """``size`` clips; ``varied`` for training."""
        ...


def view(settings: TrainSettings) -> View:
    """Which frames the lifter sees."""
    sight = CropView(
        settings.clip, rolled=_sees_maps(settings), turned=settings.maps == "blazepose"
    )
    return {
        "rpsm": View(settings.clip, 3, recurrent=True),
        "videopose3d": View(27),
        "poseformer": View(9),
        "martinez": View(1),
        **dict.fromkeys(SIGHTED, sight),
        "rpsm-images": PictureView(settings.clip, 3),
    }[settings.lifter]


def build(settings: TrainSettings, heatmaps: int = 0) -> nn.Module:
    """The network for a lifter's name; its joints have a fourth number, the logarithm of sigma.

    ``heatmaps``: joints of the head for the pre-training of rpsm-images.
    """
    if settings.lifter == "rpsm-images":
        return RPSM(
            settings.size,
            settings.width,
            heatmaps=heatmaps,
            units=settings.channels,
            stages=settings.stages,
            recurrent=settings.clip > 1,
            joints_out=17,
            features_out=4,
        )
    joints: dict[str, Any] = {
        "joints_in": 18,
        "features_in": 3,
        "joints_out": 17,
        "features_out": 4,
    }
    if settings.lifter == "rpsm":
        return RPSMKeypoints(
            channels=settings.channels,
            units=settings.channels,
            stages=settings.stages,
            recurrent=settings.clip > 1,
            dropout=settings.dropout,
            **joints,
        )
    if settings.lifter in SIGHTED:
        return _sighted(settings)
    if settings.lifter == "poseformer":
        return PoseFormer(frames=9, drop_path=settings.dropout, **joints)
    widths = (3, 3, 3) if settings.lifter == "videopose3d" else (1, 1, 1)
    return VideoPose3D(
        filter_widths=widths,
        causal=True,
        channels=settings.channels,
        dropout=settings.dropout,
        **joints,
    )


def _sees_maps(settings: TrainSettings) -> bool:
    return settings.context != "none" and settings.levels > 0


def _sighted(settings: TrainSettings) -> nn.Module:
    base = load(Path(settings.base))[0] if settings.base else None
    if settings.start and base is None:
        from pose3d_ros.training import onnx_weights  # which builds on this module

        base = onnx_weights.base(Path(settings.start))
    levels = 0 if settings.context == "none" else settings.levels
    pyramid, spread = MAPS[settings.maps]
    sight: dict[str, Any] = {
        "pyramid": pyramid,
        "spread": spread,
        "levels": levels,
        "relief": settings.relief,
        "rate": settings.spoil,
        "instance": settings.instance,
    }
    if settings.lifter == "rpsm-context":
        network = RPSMContext(
            look=settings.look,
            channels=settings.channels,
            units=settings.channels,
            stages=settings.stages,
            recurrent=settings.clip > 1,
            dropout=settings.dropout,
            joints_out=17,
            features_out=4,
            **sight,
        )
        if isinstance(base, RPSMKeypoints):
            network.start_from(base)
        elif base is not None:
            raise ValueError(
                f"base: expected the folder of an rpsm for rpsm-context, got {settings.base}"
            )
        return network
    whole = 8 * (1 + settings.levels)
    if settings.channels < whole:
        raise ValueError(
            f"channels: expected {whole} or more for {settings.lifter}, got {settings.channels}"
        )
    return ContextLifter(
        frames=settings.clip if settings.lifter == "context-t" else 1,
        base=base,
        context=settings.context,
        fusion=settings.fusion,
        channels=settings.channels // whole * 8,
        drop_path=settings.dropout,
        **sight,
    )


def kept(network: nn.Module, settings: TrainSettings) -> nn.Module:
    """The trained network with the share of the weights that it began with that ``settings.keep``
    asks for.
    """
    if settings.keep and (settings.start or settings.base and settings.lifter == "rpsm-context"):
        begun = build(settings)
        if settings.start:
            from pose3d_ros.training.onnx_weights import go_on  # which builds on this module

            go_on(begun, Path(settings.start))
        before, after = begun.state_dict(), network.state_dict()
        network.load_state_dict(
            {
                name: torch.lerp(value.cpu(), before[name], settings.keep)
                if value.is_floating_point()
                else value
                for name, value in after.items()
            }
        )
    return network


def load(folder: Path) -> tuple[nn.Module, TrainSettings]:
    """The network of a training's folder as its checkpoint has it. Raises ``ValueError``."""
    try:
        settings = TrainSettings(**json.loads((folder / "settings.json").read_text()))
        saved = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{folder}: expected a folder that 'pose3d train' wrote ({error})"
        ) from None
    network = build(settings)
    network.load_state_dict(saved["network"])
    return network.eval(), settings


def sources(settings: TrainSettings, split: str) -> list[Source]:
    """Where the samples come from, one of each folder, of which only the last is for validation.

    Raises ``ValueError`` or ``OSError``.
    """
    if split == "val" and settings.makehuman:
        return [_fresh_validation(settings)]
    folders = settings.data.split(os.pathsep)
    if settings.makehuman and settings.lifter == "rpsm-images":
        folders = [folder for folder in folders if not _captured(folder)]
    noisy = {
        folder: settings.noise if len(folders) == 1 or _captured(folder) else ""
        for folder in folders
    }
    wanted = list(noisy.items())[-1:] if split == "val" else noisy.items()
    return [source(replace(settings, data=folder, noise=noise), split) for folder, noise in wanted]


def _captured(folder: str) -> bool:
    return (Path(folder) / "index.json").is_file()


def fresh(settings: TrainSettings, split: str = "train", rank: int = 0) -> Fresh | None:
    """People who are rendered while training, if wanted; other ones in every process. Raises
    ``ValueError``.
    """
    if not settings.makehuman:
        return None
    if settings.lifter not in (*SIGHTED, "rpsm-images"):
        raise ValueError(
            f"makehuman: expected a lifter that sees more than keypoints ({', '.join(SIGHTED)}, "
            f"rpsm-images), got {settings.lifter}"
        )
    if settings.maps != "blazepose":
        raise ValueError(
            f"makehuman: expected the maps of blazepose, which looks at people who are rendered, "
            f"got "
            f"{settings.maps}"
        )
    captured = [folder for folder in settings.data.split(os.pathsep) if _captured(folder)]
    if not captured:
        raise ValueError(
            "makehuman: expected motion capture (a folder with index.json) in data, whose motions "
            "people "
            "have"
        )
    recipe = Recipe(
        Path(settings.makehuman),
        Path(captured[0]),
        split,
        (settings.seed, rank, int(split == "val")),
        CLIPS,
        max(settings.clip, _FRAMES),
        settings.lifter == "rpsm-images",
    )
    return Fresh(
        recipe,
        Path(settings.output) / "fresh" / f"{split}{rank}",
        settings.fresh,
        settings.workers,
        partial(_rendered, settings, split),
        kept=settings.resume,
    )


def _fresh_validation(settings: TrainSettings) -> Source:
    """The first shards of the validation subjects."""
    made = fresh(replace(settings, fresh=1), "val")
    assert made is not None
    with closing(made):
        made.prepare(_VALIDATION - 1, 0)
        return made.at(_VALIDATION - 1)


def _rendered(settings: TrainSettings, split: str, folders: Sequence[Path]) -> Source:
    if settings.lifter == "rpsm-images":
        return Pictures.read(folders, split, view(settings).offsets, settings.size)
    return _fitting(
        settings,
        SeenPeople.read(
            [path for folder in folders for path in folder.glob("*.npz")],
            settings.clip,
            _values(settings),
        ),
    )


def _values(settings: TrainSettings) -> int:
    return (
        sum(map(math.prod, MAPS[settings.maps][0][-settings.levels :]))
        if _sees_maps(settings)
        else 0
    )


def _fitting(settings: TrainSettings, people: SeenPeople) -> SeenPeople:
    """The people, if what was seen of them is what the lifter looks at. Raises ``ValueError``."""
    stored = MAPS[settings.maps][0][NOT_STORED.get(settings.maps, 0) :]
    values = {file.shape[1] for file in people.files}
    if _sees_maps(settings) and (
        values != {sum(map(math.prod, stored))} or settings.levels > len(stored)
    ):
        shapes = ", ".join("x".join(map(str, shape)) for shape in stored)
        raise ValueError(
            f"maps: expected people with the {len(stored)} feature maps of {settings.maps} that "
            f"are "
            f"stored ({shapes}; {sum(map(math.prod, stored))} values) and at most as many levels, "
            f"got "
            f"{settings.levels} levels and people with {' or '.join(map(str, sorted(values)))} "
            f"values; "
            f"change --maps, --levels or the data"
        )
    if settings.relief and not people.labels["landmark_z"].any():
        raise ValueError(
            "relief: expected people with the detector's guess of depth, got a detector that does "
            "not "
            "guess it; train with --no-relief"
        )
    return people


def source(settings: TrainSettings, split: str) -> Source:
    """Where the samples of the only folder come from. Raises ``ValueError`` or ``OSError``."""
    data, offsets = Path(settings.data), view(settings).offsets
    captured = _captured(settings.data)
    if settings.noise and not captured and settings.lifter not in SIGHTED:
        raise ValueError(
            f"noise: recordings come with their own keypoints, leave it out; or is {data} meant "
            f"to be "
            f"motion capture? Then it lacks index.json"
        )
    if settings.lifter in SIGHTED and not captured:
        return _fitting(
            settings,
            SeenPeople.load(data, split, settings.clip, _values(settings), settings.clips),
        )
    if settings.lifter == "rpsm-images":
        return Pictures.load(data, split, offsets, settings.size)
    if captured:
        return Mocap.load(
            data,
            split,
            offsets,
            _detector(Path(settings.noise), split) if settings.noise else None,
        )
    return Recordings.load(data, split, offsets)


def _detector(path: Path, split: str) -> Detector:
    return recorded_detector(path, split) if path.is_dir() else Detector.load(path, split)
