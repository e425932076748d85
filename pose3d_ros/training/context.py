"""Training of lifters that look at feature maps: samples that ``pose3d render features`` wrote, and the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pose3d_ros.lifting.context import upright
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.networks.context import BLAZEPOSE, ContextPoseFormer, Map
from pose3d_ros.training.clips import Clips, View, hide
from pose3d_ros.training.noise import rig_offsets_m, rms_size

_LABELS = ("rays", "confidence", "joints_m", "crop_keypoints", "crop_rays")


@dataclass(frozen=True)
class Crops(Clips):
    """B people in one frame, T = 1, and what the detector saw of each: ``crop_keypoints`` (B, 17, 2) and ``crop_rays``
    (B, 2, 2) as in ``lifting.context``, and ``features`` (B, V) float16, the levels' maps one after the other.
    """

    crop_keypoints: np.ndarray
    crop_rays: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class CropView(View):
    """One frame in a virtual camera that is rolled like the crop."""

    frames: int = 1

    def __call__(self, clips: Clips) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Keypoints (B, 18, 3), crop keypoints (B, 17, 2) and features (B, V), and the targets (B, 1, 17, 3)."""
        assert isinstance(clips, Crops)
        keypoints, rotation = upright(*normalise(clips.rays, clips.confidence), clips.crop_rays)
        target_m = (clips.joints_m - clips.joints_m[..., :1, :]) @ np.swapaxes(rotation, -1, -2)[:, None]
        return (keypoints[:, 0], clips.crop_keypoints, clips.features), target_m.astype(np.float32)


class SeenPeople:
    """The frames of a split of what ``training.synthetic.features`` wrote. Feature maps stay on the disk until needed.

    Joints are moved to where the detector has them: every rig has its own idea of where a shoulder is.
    """

    def __init__(self, labels: dict[str, np.ndarray], files: list[Path], file: np.ndarray, row: np.ndarray) -> None:
        self.labels, self.files, self.file, self.row = labels, files, file, row

    @classmethod
    def load(cls, folder: Path, split: str) -> SeenPeople:
        """Raises ``ValueError`` where there is nothing."""
        paths = sorted((folder / split).glob("*.npz"))
        files = [path.with_suffix(".features.npy") for path in paths]
        if not paths or not files[0].is_file():
            raise ValueError(f"{folder / split}: expected keypoints and feature maps of people (NAME.npz and "
                             f"NAME.features.npy), as 'pose3d render features' writes them")
        loaded = []
        for path in paths:
            with np.load(path) as data:
                loaded.append({name: data[name] for name in _LABELS})
        labels = {name: np.concatenate([part[name] for part in loaded]) for name in _LABELS}
        lengths = [len(part["rays"]) for part in loaded]
        joints_m = labels["joints_m"]
        rays = joints_m[..., :2] / joints_m[..., 2:]
        residual = (labels["rays"] - rays) / rms_size(rays)[:, None, None]
        labels["joints_m"] = joints_m + rig_offsets_m(joints_m, residual, labels["confidence"]).astype(np.float32)
        return cls(labels, files, np.repeat(np.arange(len(files)), lengths),
                   np.concatenate([np.arange(length) for length in lengths]))

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Crops:
        """Random frames, with joints lost if ``varied``; else each at most once, so that there may be fewer."""
        rows = rng.choice(len(self.row), size if varied else min(size, len(self.row)), replace=varied)
        rays, confidence, joints_m, crop_keypoints, up = (self.labels[name][rows] for name in _LABELS)
        features = np.stack([np.load(self.files[self.file[i]], mmap_mode="r")[self.row[i]] for i in rows])
        crops = Crops(rays[:, None], confidence[:, None], joints_m[:, None], crop_keypoints, up, features)
        return cast(Crops, hide(rng, crops)) if varied else crops


class ContextLifter(nn.Module):
    """Context-Aware PoseFormer of one frame with the inputs that our lifters have.

    Each keypoint comes with its confidence and the person's size, and the maps are divided by ``spread``: of the
    embedded detector's, all but the last end in a ReLU6. With ``base``, a trained lifter of keypoints [B x 1 x 18 x 3]
    -> [B x 1 x 17 x 4], its answer is one more input, and the network learns what to add to it; the base stays as it
    is. So what keypoints tell comes from motion capture without end, and few pictures are enough for the rest. The
    other options are the network's.
    """

    def __init__(self, pyramid: Sequence[Map] = BLAZEPOSE, spread: Sequence[float] = (1, 1, 1, 28),
                 context: str = "deformable", fusion: bool = True, channels: int = 128, drop_path: float = 0.2,
                 base: nn.Module | None = None) -> None:
        super().__init__()
        self.pyramid, self.spread = tuple(pyramid), tuple(spread)
        self.network = ContextPoseFormer(pyramid, context, fusion, features_in=4 if base is None else 8, features_out=4,
                                         channels=channels, drop_path=drop_path)
        self.base = base
        if base is not None:
            base.requires_grad_(False)
            for parameter in self.network.head[-1].parameters():
                nn.init.zeros_(parameter)

    def train(self, mode: bool = True) -> ContextLifter:
        """As every module, but the base is not trained."""
        super().train(mode)
        if self.base is not None:
            self.base.eval()
        return self

    def forward(self, keypoints: Tensor, crop_keypoints: Tensor, features: Tensor | list[Tensor]) -> Tensor:
        """Keypoints [B x 18 x 3], crop_keypoints [B x 17 x 2] and the maps [B x C x H x W] -> joints [B x 1 x 17 x 4].

        The maps may also come as all their values one after the other [B x V].
        """
        if isinstance(features, Tensor):
            parts = features.split([math.prod(shape) for shape in self.pyramid], 1)
            features = [part.unflatten(1, shape) for part, shape in zip(parts, self.pyramid, strict=True)]
        scaled = [level.to(keypoints.dtype) if spread == 1 else level.to(keypoints.dtype) / spread
                  for level, spread in zip(features, self.spread, strict=True)]
        tokens = torch.cat([keypoints[:, :-1], keypoints[:, -1:, :1].expand(-1, keypoints.shape[1] - 1, 1)], -1)
        if self.base is None:
            return cast(Tensor, self.network(tokens, crop_keypoints, scaled))
        known = self.base(keypoints[:, None])
        return cast(Tensor, known + self.network(torch.cat([tokens, known[:, -1]], -1), crop_keypoints, scaled))

    def example(self, batch: int = 1) -> dict[str, Tensor | list[Tensor]]:
        """Inputs of the right names and shapes."""
        return {"keypoints": torch.zeros(batch, 18, 3), "crop_keypoints": torch.zeros(batch, 17, 2),
                "features": [torch.zeros(batch, *shape) for shape in self.pyramid]}


class NewestFrame(nn.Module):
    """A ``ContextLifter`` that gives joints [B x 17 x 4], as they are exported."""

    def __init__(self, network: ContextLifter) -> None:
        super().__init__()
        self.network = network

    def forward(self, keypoints: Tensor, crop_keypoints: Tensor, features: Tensor | list[Tensor]) -> Tensor:
        """Run the network."""
        return cast(Tensor, self.network(keypoints, crop_keypoints, features))[:, -1]
