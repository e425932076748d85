"""Train a keypoint lifter on motion capture."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.networks.export import export as export_network
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.settings import Settings, setting
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.metrics import mpjpe, pa_mpjpe
from pose3d_ros.training.mocap import Batch, Detector, Mocap, sample


@dataclass(frozen=True)
class TrainSettings(Settings):
    """What ``pose3d train`` does."""

    lifter: str = setting("videopose3d", "Lifter to train: 27 causal frames, or one",
                          choices=("videopose3d", "martinez"))
    data: str = setting("", "Folder with train.npz, val.npz and index.json of joint positions at 30 Hz")
    noise: str = setting("", "npz of a detector's errors on labelled pictures (pose3d render noise); empty trains on "
                         "exact keypoints")
    output: str = setting("output/train", "Folder for the checkpoint, the curve and the exported model")
    steps: int = setting(10000, "Optimiser steps", low=1, high=10_000_000)
    batch: int = setting(512, "Windows per step", low=2, high=65536)
    channels: int = setting(384, "Width of the network", low=8, high=4096)
    dropout: float = setting(0.1, "Dropout rate", low=0.0, high=0.9)
    learning_rate: float = setting(1e-3, "Peak learning rate of AdamW; falls to zero along a cosine", low=1e-7,
                                   high=1.0)
    seed: int = setting(0, "Seed of weights and samples", low=0, high=2**31 - 1)
    threads: int = setting(1, "CPU threads of the optimiser; one more core makes the samples", low=1, high=256)
    resume: bool = setting(False, "Go on from the checkpoint in the output folder")


class _Samples(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Batch number i is made from the seed and i alone, so that a resumed run sees what an unbroken one would."""

    def __init__(self, mocap: Mocap, detector: Detector | None, settings: TrainSettings, first: int) -> None:
        self.mocap, self.detector, self.settings, self.first = mocap, detector, settings, first

    def __len__(self) -> int:
        return self.settings.steps - self.first

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.settings.seed, self.first + index])
        batch = sample(rng, self.mocap, self.detector, self.settings.batch)
        return batch.features, batch.target_m


def loss(output: Tensor, target_m: Tensor) -> Tensor:
    """MPJPE, plus the likelihood that teaches the fourth output, log sigma, without pulling at the pose.

    ``output`` [B x J x 4], ``target_m`` [B x J x 3]. Sigma is per axis: the squared error's mean is 3 sigma^2.
    """
    error = (output[..., :3] - target_m).norm(dim=-1)
    log_sigma = output[..., 3].clamp(-6, 1)
    likelihood = 3 * log_sigma + error.detach() ** 2 / (2 * (2 * log_sigma).exp())
    return error.mean() + 0.01 * likelihood.mean()


def build(settings: TrainSettings) -> VideoPose3D:
    """The network for a lifter's name."""
    widths = (3, 3, 3) if settings.lifter == "videopose3d" else (1, 1, 1)
    return VideoPose3D(joints_in=18, features_in=3, joints_out=17, features_out=4, filter_widths=widths, causal=True,
                       dropout=settings.dropout, channels=settings.channels)


def evaluate(network: nn.Module, batches: list[Batch]) -> dict[str, float]:
    """Errors in millimetres on fixed validation batches, and how well sigma tells them."""
    network.eval()
    with torch.no_grad():
        flip_test = FlipTest(network)
        output = torch.cat([flip_test(torch.from_numpy(b.features)) for b in batches]).numpy()
    truth = np.concatenate([b.target_m for b in batches])
    predicted = output[..., :3] - output[:, :1, :3]
    square = ((predicted - truth) ** 2).mean(-1)[:, 1:]
    return {"mpjpe_mm": float(mpjpe(predicted, truth).mean() * 1e3),
            "pa_mpjpe_mm": float(pa_mpjpe(predicted, truth).mean() * 1e3),
            "normalised_squared_error": float((square / np.exp(2 * output[:, 1:, 3])).mean())}


def train(settings: TrainSettings, stop_after: int | None = None) -> Path:
    """Run or resume a training, at most to step ``stop_after``; returns the ONNX file, or the checkpoint before it."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    folder = Path(settings.output)
    folder.mkdir(parents=True, exist_ok=True)
    network = build(settings)
    window = network.receptive_field
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    checkpoint = folder / "checkpoint.pt"
    first = 0
    if settings.resume:
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["rng"])
        first = saved["step"]

    data = Path(settings.data)
    detector = Detector.load(Path(settings.noise), window) if settings.noise else None
    validation_set = Mocap.load(data, "val", window)
    validation = [sample(np.random.default_rng([settings.seed, 2**32 + i]), validation_set, detector, 1024,
                         varied=False) for i in range(4)]
    loader = DataLoader(_Samples(Mocap.load(data, "train", window), detector, settings, first), batch_size=None,
                        num_workers=1, prefetch_factor=4, generator=torch.Generator())
    every = max(settings.steps // 40, 1)
    running = 0.0
    last = stop_after or settings.steps
    progress = tqdm(loader, initial=first, total=settings.steps, desc=settings.lifter, mininterval=5)
    for step, (features, target_m) in enumerate(progress, first + 1):
        network.train()
        value = loss(network(features)[:, -1], target_m)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        running += (float(value.detach()) - running) / min(step - first, 100)
        if step % every == 0 or step == last:
            scores = {"step": step, "loss": running, **evaluate(network, validation)}
            progress.set_postfix(mpjpe=f"{scores['mpjpe_mm']:.1f}", pa=f"{scores['pa_mpjpe_mm']:.1f}")
            with (folder / "curve.jsonl").open("a") as curve:
                curve.write(json.dumps(scores) + "\n")
            partial = checkpoint.with_suffix(".partial")
            torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step,
                        "schedule": schedule.state_dict(), "rng": torch.get_rng_state()}, partial)
            partial.replace(checkpoint)
        if step == last:
            break
    (folder / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    path = folder / f"{settings.lifter}.onnx"
    return export(network, path) if last == settings.steps else checkpoint


class FlipTest(nn.Module):
    """The last frame's joints [P x 17 x 4], averaged over the keypoints [P x T x 18 x 3] and their mirror image."""

    order_in: Tensor
    order_out: Tensor
    signs_in: Tensor
    signs_out: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order_in", torch.tensor([*H36M17.flip, len(H36M17)]))
        self.register_buffer("order_out", torch.tensor(H36M17.flip.tolist()))
        signs = torch.ones(len(H36M17) + 1, 3)
        signs[:-1, 0] = -1
        self.register_buffer("signs_in", signs)
        self.register_buffer("signs_out", torch.tensor([-1.0, 1.0, 1.0, 1.0]))

    def forward(self, keypoints: Tensor) -> Tensor:
        """Run the network twice."""
        mirrored = keypoints[:, :, self.order_in] * self.signs_in
        straight, turned = self.network(keypoints)[:, -1], self.network(mirrored)[:, -1]
        joints: Tensor = (straight + turned[:, self.order_out] * self.signs_out) / 2
        return joints


def export(network: VideoPose3D, path: Path) -> Path:
    """Write the network with its flip test as ONNX: ``keypoints`` (people, T, 18, 3) -> ``joints`` (people, 17, 4)."""
    example = torch.zeros(2, network.receptive_field, len(H36M17) + 1, 3)
    return export_network(FlipTest(network), path, {"keypoints": example}, ["joints"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d train``."""
    add_options(parser, TrainSettings)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    sys.stdout.write(f"{train(from_options(options, TrainSettings))}\n")
    return 0
