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

"""Checkpoints: the folder of a training read back, and the base network that its settings name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pose3d_ros.errors import quoted
from pose3d_ros.networks.torch_file import CheckpointError, read_torch_file
from pose3d_ros.training import onnx_weights
from pose3d_ros.training.build import build
from pose3d_ros.training.settings import TrainSettings, with_current_names

CHECKPOINT = "checkpoint.pt"
SETTINGS = "settings.json"
_MAX_SETTINGS_BYTES = 1 << 20


def read(path: Path) -> dict[str, Any]:
    """The dictionary in a checkpoint file; no code in it is run. Raises ``CheckpointError``."""
    saved = read_torch_file(path)
    if not isinstance(saved, dict) or not isinstance(saved.get("network"), dict):
        raise CheckpointError(f"{path}: expected a checkpoint of 'pose3d train', got another file")
    return saved


def load(folder: Path) -> tuple[nn.Module, TrainSettings]:
    """The network of a training's folder, in evaluation mode, and the training's settings.

    Raises ``CheckpointError``.
    """
    try:
        settings = _read_settings(folder / SETTINGS)
        found = read(folder / CHECKPOINT)["network"]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder}: expected a folder that 'pose3d train' wrote ({quoted(error)})"
        ) from None
    try:
        _check_size(settings, found)
        network = build_with_base(settings)
        network.load_state_dict(found)
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: expected the parameters of the network of {SETTINGS} in {CHECKPOINT}, and "
            f"the files that it begins with ({quoted(error)})"
        ) from None
    return network.eval(), settings


def _read_settings(path: Path) -> TrainSettings:
    if path.stat().st_size > _MAX_SETTINGS_BYTES:
        raise ValueError(f"{path} of {path.stat().st_size} bytes")
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
        raise ValueError(f"{path} without settings")
    return TrainSettings(**with_current_names(values))


def _check_size(settings: TrainSettings, found: dict[str, Any]) -> None:
    """Raise ``RuntimeError`` if the settings ask for more parameters than there are, before a
    network is made of them.
    """
    with torch.device("meta"):
        needed = sum(value.numel() for value in build(settings).parameters())
    there = sum(value.numel() for value in found.values() if isinstance(value, torch.Tensor))
    if needed > 2 * there:
        raise RuntimeError(f"{needed} parameters needed, {there} there")


def build_with_base(settings: TrainSettings) -> nn.Module:
    """As ``build``, with the base network from the folder or ONNX file that ``settings.base``
    names, or of the shape of the one in the file ``settings.init_from``. Raises ``ValueError``.
    """
    base = _base(settings) if settings.base else None
    if base is None and settings.init_from:
        base = onnx_weights.base_network(Path(settings.init_from))
    return build(settings, base)


def _base(settings: TrainSettings) -> nn.Module:
    path = Path(settings.base)
    if not path.is_file():
        return load(path)[0]
    kind = "rpsm" if settings.lifter == "rpsm-context" else "martinez"
    network = build(TrainSettings(lifter=kind, **onnx_weights.architecture_of(path, kind)))
    onnx_weights.load_weights(network, path)
    return network.eval()


def initial_network(settings: TrainSettings) -> nn.Module:
    """The network that a training begins with. Raises ``ValueError``."""
    network = build_with_base(settings)
    if settings.init_from:
        onnx_weights.load_weights(network, Path(settings.init_from))
    return network


def interpolate_weights(network: nn.Module, settings: TrainSettings) -> nn.Module:
    """Move the weights of a trained network towards the initial ones by the share
    ``settings.weight_interpolation``, in place (WiSE-FT, Wortsman et al., 2022).

    Without initial weights, of a file or of a base that rpsm-context begins with, nothing changes.
    """
    has_initial = settings.init_from or (settings.base and settings.lifter == "rpsm-context")
    if settings.weight_interpolation and has_initial:
        before, after = initial_network(settings).state_dict(), network.state_dict()
        network.load_state_dict(
            {
                name: torch.lerp(value.cpu(), before[name], settings.weight_interpolation)
                if value.is_floating_point()
                else value
                for name, value in after.items()
            }
        )
    return network
