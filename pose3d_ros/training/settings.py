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

"""Settings of a training: everything that ``pose3d train`` can be told. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pose3d_ros.settings import Settings, setting

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
FEATURE_LIFTERS = ("context", "context-t", "rpsm-context")
"""Those whose inputs are more of a detector's output than keypoints: its root-relative depth and
its feature maps.
"""
FEATURE_SOURCES = ("blazepose", "hrnet-w32", "hrnet-w48")
"""Detectors whose feature maps a lifter can take."""


@dataclass(frozen=True)
class TrainSettings(Settings):
    """Settings of ``pose3d train``."""

    lifter: str = setting(
        "rpsm",
        "Lifter to train: rpsm carries a state over frames a tenth of a second apart; "
        "videopose3d takes 27 causal frames, poseformer 9, martinez one; context one with the "
        "detector's root-relative depth and feature maps, context-t several of these; "
        "rpsm-context carries a state and takes them too; rpsm-images is RPSM on images",
        choices=LIFTERS,
    )
    data: str = setting(
        "",
        "Folder of motion capture (train.npz, val.npz and index.json, joint positions at 30 Hz), "
        "or of recordings (train/ and val/, see 'pose3d dataset'); for context, one written by "
        "'pose3d render features' or 'pose3d dataset features'. Of several, separated by ':', "
        "each step takes a batch from each, and one from all motion capture together; the last "
        "with val data is validated on",
    )
    data_weights: str = setting(
        "",
        "With several folders of motion capture: how much a minute of each counts, numbers "
        "separated by ':', one for each folder of data (those of recordings are not looked at); "
        "empty counts all alike. Few motions often repeated want less than 1",
    )
    noise: str = setting(
        "",
        "For motion capture: npz of a detector's errors on labelled images ('pose3d render "
        "noise'), or a folder of 'pose3d render features', which has the errors of its "
        "root-relative depth as well; empty trains on exact keypoints",
    )
    makehuman: str = setting(
        "",
        "Folder of bodies ('pose3d render'): people who move as the motion capture in data are "
        "rendered while training, always new ones, and every step takes a batch of them; "
        "validation is on new ones of the validation subjects",
    )
    render_every: int = setting(
        20,
        "With makehuman: optimiser steps after which the next 64 rendered clips take part",
        low=1,
        high=1_000_000,
    )
    init_from: str = setting(
        "",
        "ONNX file of the same lifter whose weights to begin with; empty begins with random ones",
    )
    output: str = setting(
        "output/train", "Folder for the checkpoint, the curve and the exported model"
    )
    steps: int = setting(10000, "Optimiser steps", low=1, high=10_000_000)
    batch: int = setting(256, "Clips per step, on each GPU", low=2, high=65536)
    accumulate: int = setting(
        1,
        "Gradient accumulation: parts that a step's clips are taken in, to save memory",
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
    size: int = setting(368, "rpsm-images: side of the images, a multiple of 8", low=16, high=1024)
    width: float = setting(
        1.0,
        "rpsm-images: width of the convolutions; 0.5 at 256 px is for CPUs",
        low=0.01,
        high=4.0,
    )
    pretrain_steps: int = setting(
        0,
        "rpsm-images: steps in which the 2D pose module first learns to find joints in single "
        "images, batch times clip of them in each",
        low=0,
        high=10_000_000,
    )
    pretraining: str = setting(
        "heatmaps",
        "Loss of these steps: heatmaps, the squared error of heat maps; integral, the error of "
        "their soft-argmax (Sun et al., 2018)",
        choices=("heatmaps", "integral"),
    )
    feature_source: str = setting(
        "blazepose",
        "context, rpsm-context: detector whose feature maps are the input; those of HRNet are in "
        "folders of 'pose3d dataset features'",
        choices=FEATURE_SOURCES,
    )
    levels: int = setting(
        1,
        "context, rpsm-context: number of the detector's feature maps that are used, the deepest "
        "first",
        low=0,
        high=4,
    )
    root_relative_depth: bool = setting(
        True, "context, rpsm-context: take the detector's root-relative depth as an input"
    )
    depth_part: str = setting(
        "whole",
        "context, rpsm-context: of the root-relative depth the whole, or what is between left and "
        "right joints alone (sides), which tells how somebody is turned and not how far they lean",
        choices=("whole", "sides"),
    )
    up: bool = setting(
        False,
        "context, rpsm-context: take the direction of up as an input, which is unknown in half of "
        "the samples and a few degrees wrong in the others",
    )
    feature_channels: int = setting(
        8,
        "rpsm-context: channels that each feature map is projected to at a joint",
        low=1,
        high=256,
    )
    feature_dropout: float = setting(
        0.2,
        "context, rpsm-context: dropout rate of single channels of the feature maps and of all "
        "maps of a person",
        low=0.0,
        high=0.9,
    )
    instance_norm: bool = setting(
        False, "context, rpsm-context: instance normalisation of the feature maps"
    )
    clips: int = setting(
        0,
        "context, rpsm-context: number of clips to take of each folder, the first; 0 takes all",
        low=0,
        high=100_000_000,
    )
    context: str = setting(
        "deformable",
        "context: sample the feature maps around the joints where attention points "
        "(deformable), or at the joints alone (sampled); none leaves them out",
        choices=("deformable", "sampled", "none"),
    )
    base: str = setting(
        "",
        "Base network, as the output folder of its training or its ONNX file: for context of a "
        "martinez, whose output it corrects; for rpsm-context of an rpsm, whose weights it begins "
        "with",
    )
    weight_interpolation: float = setting(
        0.0,
        "With init-from, and for rpsm-context with base: share of the initial weights in the "
        "exported ones; 0.5 keeps accuracy on people unlike the new data (WiSE-FT, Wortsman et "
        "al., 2022)",
        low=0.0,
        high=1.0,
    )
    fusion: bool = setting(
        True, "context: the keypoint and the levels of the feature maps attend to each other"
    )
    dropout: float = setting(
        0.1, "Dropout rate (poseformer and context: of whole paths)", low=0.0, high=0.9
    )
    loss: str = setting(
        "mpjpe",
        "mpjpe: mean distance of joints; mse: squared distance, as the paper of RPSM has it; "
        "sigma, with init-from: how unsure each joint is, while poses stay exactly as they are",
        choices=("mpjpe", "mse", "sigma"),
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
        "Learning rate schedule: cosine to zero; exponential by 0.99 each fiftieth of the steps "
        "(the 50 epochs of Context-Aware PoseFormer)",
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
        "Device to compute on; auto takes a GPU if there is one. Several GPUs: torchrun "
        "--nproc-per-node=GPUS -m pose3d_ros.cli train ...",
        choices=("auto", "cpu", "cuda"),
    )
    seed: int = setting(0, "Seed of weights and samples", low=0, high=2**31 - 1)
    threads: int = setting(1, "CPU threads of the optimiser", low=1, high=256)
    workers: int = setting(
        1,
        "Processes that make samples, and with makehuman as many that render; images need "
        "several beside a GPU",
        low=1,
        high=256,
    )
    resume: bool = setting(False, "Go on from the checkpoint in the output folder")

    @property
    def uses_feature_maps(self) -> bool:
        """True if feature maps are an input, for lifters of features."""
        return self.context != "none" and self.levels > 0


OLD_NAMES = {
    "spoil": "feature_dropout",
    "look": "feature_channels",
    "instance": "instance_norm",
    "keep": "weight_interpolation",
    "start": "init_from",
    "maps": "feature_source",
    "fresh": "render_every",
    "relief": "root_relative_depth",
}
"""Names of settings in files and on command lines until version 0.1, and their names since."""


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file by the names that they have today."""
    return {OLD_NAMES.get(name, name): value for name, value in values.items()}
