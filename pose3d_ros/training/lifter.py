"""What can be trained: each lifter's network, what it is shown, and where that comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from pose3d_ros.networks.poseformer import PoseFormer
from pose3d_ros.networks.rpsm import RPSM, RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.settings import Settings, setting
from pose3d_ros.training.clips import Clips, View
from pose3d_ros.training.context import ContextLifter, CropView, SeenPeople
from pose3d_ros.training.dataset import Recordings
from pose3d_ros.training.images import Pictures, PictureView
from pose3d_ros.training.mocap import Mocap
from pose3d_ros.training.noise import Detector

LIFTERS = ("rpsm", "videopose3d", "poseformer", "martinez", "context", "rpsm-images")
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainSettings(Settings):
    """What ``pose3d train`` does."""

    lifter: str = setting("rpsm", "Lifter to train: rpsm carries a state over frames a tenth of a second apart; "
                          "videopose3d sees 27 causal frames, poseformer 9, martinez one; context one, and the "
                          "detector's feature maps; rpsm-images is RPSM from pictures", choices=LIFTERS)
    data: str = setting("", "Folder of motion capture (train.npz, val.npz and index.json, joint positions at 30 Hz), "
                        "or of recordings (train/ and val/, see 'pose3d dataset'); for context, what 'pose3d render "
                        "features' wrote")
    noise: str = setting("", "npz of a detector's errors on labelled pictures (pose3d render noise) for motion "
                         "capture; empty trains on exact keypoints")
    output: str = setting("output/train", "Folder for the checkpoint, the curve and the exported model")
    steps: int = setting(10000, "Optimiser steps", low=1, high=10_000_000)
    batch: int = setting(256, "Clips per step, on each GPU", low=2, high=65536)
    accumulate: int = setting(1, "Parts that a step's clips are taken in, one after the other, to save memory", low=1,
                              high=1024)
    channels: int = setting(384, "Width of the network (rpsm: units of the LSTM and of the layers before it; "
                            "context: of a joint's five tokens together, in steps of 40; the paper's has 640)", low=8,
                            high=4096)
    stages: int = setting(3, "rpsm: stages", low=1, high=16)
    clip: int = setting(10, "rpsm: frames of a training clip; 1 is the form without time", low=1, high=100)
    size: int = setting(368, "rpsm-images: side of the pictures, a multiple of 8", low=16, high=1024)
    width: float = setting(1.0, "rpsm-images: width of the convolutions; 0.5 at 256 px is for CPUs", low=0.01, high=4.0)
    pretrain_steps: int = setting(0, "rpsm-images: steps in which the 2D pose module first learns joints, in single "
                                  "pictures, batch times clip of them each", low=0, high=10_000_000)
    pretraining: str = setting("heatmaps", "How it learns them: heatmaps by their squared error, integral by the error "
                               "of their soft-argmax (Sun et al., 2018)", choices=("heatmaps", "integral"))
    context: str = setting("deformable", "context: sample the feature maps around the joints where attention says "
                           "(deformable) or at the joints alone (sampled); none does without them",
                           choices=("deformable", "sampled", "none"))
    base: str = setting("", "context: output folder of a martinez training, whose answer it starts from and corrects; "
                        "empty learns from the rendered people alone")
    fusion: bool = setting(True, "context: let the keypoint and the levels of the feature maps attend to each other")
    dropout: float = setting(0.1, "Dropout rate (poseformer and context: of whole paths)", low=0.0, high=0.9)
    loss: str = setting("mpjpe", "mpjpe: mean distance of joints; mse: squared distance, as the paper of RPSM has it",
                        choices=("mpjpe", "mse"))
    bone_ratio: float = setting(0.0, "Weight of the variance of bone ratios (Zhou et al., 2017)", low=0.0, high=100.0)
    symmetry: float = setting(0.0, "Weight of the difference between left and right bones", low=0.0, high=100.0)
    velocity: float = setting(0.0, "rpsm: weight of the velocity error (Hossain and Little, 2018)", low=0.0, high=100.0)
    learning_rate: float = setting(1e-3, "Peak learning rate of AdamW; rpsm-images wants 3e-4", low=1e-7, high=1.0)
    schedule: str = setting("cosine", "How the rate falls: cosine to zero; exponential by 0.99 each fiftieth of the "
                            "steps (the 50 epochs of Context-Aware PoseFormer)", choices=("cosine", "exponential"))
    amp: bool = setting(False, "Compute in bfloat16 where it is safe: twice as fast on CPUs with AVX512-BF16")
    validation: int = setting(4096, "Clips of the validation split to measure on, 40 times in a training", low=1,
                              high=1_000_000)
    device: str = setting("auto", "Where to compute; auto takes a GPU if there is one. Several: torchrun "
                          "--nproc-per-node=GPUS -m pose3d_ros.cli train ...", choices=("auto", "cpu", "cuda"))
    seed: int = setting(0, "Seed of weights and samples", low=0, high=2**31 - 1)
    threads: int = setting(1, "CPU threads of the optimiser", low=1, high=256)
    workers: int = setting(1, "Processes that make the samples; pictures need several beside a GPU", low=1, high=256)
    resume: bool = setting(False, "Go on from the checkpoint in the output folder")


class Source(Protocol):
    """Training samples."""

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """``size`` clips; ``varied`` for training."""
        ...


def view(settings: TrainSettings) -> View:
    """Which frames the lifter sees."""
    return {"rpsm": View(settings.clip, 3, recurrent=True), "videopose3d": View(27), "poseformer": View(9),
            "martinez": View(1), "context": CropView(),
            "rpsm-images": PictureView(settings.clip, 3)}[settings.lifter]


def build(settings: TrainSettings, heatmaps: int = 0) -> nn.Module:
    """The network for a lifter's name; its joints have a fourth number, the logarithm of sigma.

    ``heatmaps``: joints of the head for the pre-training of rpsm-images.
    """
    if settings.lifter == "rpsm-images":
        return RPSM(settings.size, settings.width, heatmaps=heatmaps, units=settings.channels, stages=settings.stages,
                    recurrent=settings.clip > 1, joints_out=17, features_out=4)
    joints: dict[str, Any] = {"joints_in": 18, "features_in": 3, "joints_out": 17, "features_out": 4}
    if settings.lifter == "rpsm":
        return RPSMKeypoints(channels=settings.channels, units=settings.channels, stages=settings.stages,
                             recurrent=settings.clip > 1, dropout=settings.dropout, **joints)
    if settings.lifter == "context":
        if settings.channels < 40:
            raise ValueError(f"channels: expected 40 or more for context, got {settings.channels}")
        base = load(Path(settings.base))[0] if settings.base else None
        return ContextLifter(context=settings.context, fusion=settings.fusion, channels=settings.channels // 40 * 8,
                             drop_path=settings.dropout, base=base)
    if settings.lifter == "poseformer":
        return PoseFormer(frames=9, drop_path=settings.dropout, **joints)
    widths = (3, 3, 3) if settings.lifter == "videopose3d" else (1, 1, 1)
    return VideoPose3D(filter_widths=widths, causal=True, channels=settings.channels, dropout=settings.dropout,
                       **joints)


def load(folder: Path) -> tuple[nn.Module, TrainSettings]:
    """The network of a training's folder as its checkpoint has it. Raises ``ValueError``."""
    try:
        settings = TrainSettings(**json.loads((folder / "settings.json").read_text()))
        saved = torch.load(folder / CHECKPOINT, weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder}: expected a folder that 'pose3d train' wrote ({error})") from None
    network = build(settings)
    network.load_state_dict(saved["network"])
    return network.eval(), settings


def source(settings: TrainSettings, split: str) -> Source:
    """Where the samples come from. Raises ``ValueError`` or ``OSError``."""
    data, offsets = Path(settings.data), view(settings).offsets
    captured = (data / "index.json").is_file()
    if settings.noise and not captured:
        raise ValueError(f"noise: recordings come with their own keypoints, leave it out; or is {data} meant to be "
                         f"motion capture? Then it lacks index.json")
    if settings.lifter == "context":
        return SeenPeople.load(data, split)
    if settings.lifter == "rpsm-images":
        return Pictures.load(data, split, offsets, settings.size)
    if captured:
        return Mocap.load(data, split, offsets, Detector.load(Path(settings.noise), split) if settings.noise else None)
    return Recordings.load(data, split, offsets)
