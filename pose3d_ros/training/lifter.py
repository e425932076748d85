"""Train a keypoint lifter, on motion capture seen by simulated cameras or on recordings with 3D truth."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.networks.poseformer import PoseFormer
from pose3d_ros.networks.rpsm import RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.settings import Settings, setting
from pose3d_ros.training import losses
from pose3d_ros.training.clips import Clips, View
from pose3d_ros.training.dataset import Recordings
from pose3d_ros.training.export import export, flip_test
from pose3d_ros.training.metrics import mpjpe, pa_mpjpe
from pose3d_ros.training.mocap import Mocap
from pose3d_ros.training.noise import Detector

LIFTERS = ("rpsm", "videopose3d", "poseformer", "martinez")


@dataclass(frozen=True)
class TrainSettings(Settings):
    """What ``pose3d train`` does."""

    lifter: str = setting("rpsm", "Lifter to train: rpsm carries a state over frames a tenth of a second apart; "
                          "videopose3d sees 27 causal frames, poseformer 9, martinez one", choices=LIFTERS)
    data: str = setting("", "Folder of motion capture (train.npz, val.npz and index.json, joint positions at 30 Hz), "
                        "or of recordings (train/ and val/, see 'pose3d dataset')")
    noise: str = setting("", "npz of a detector's errors on labelled pictures (pose3d render noise) for motion "
                         "capture; empty trains on exact keypoints")
    output: str = setting("output/train", "Folder for the checkpoint, the curve and the exported model")
    steps: int = setting(10000, "Optimiser steps", low=1, high=10_000_000)
    batch: int = setting(256, "Clips per step, on each GPU", low=2, high=65536)
    accumulate: int = setting(1, "Parts that a step's clips are taken in, one after the other, to save memory", low=1,
                              high=1024)
    channels: int = setting(384, "Width of the network (rpsm: units of the LSTM and of the layers before it)", low=8,
                            high=4096)
    stages: int = setting(3, "rpsm: stages", low=1, high=16)
    clip: int = setting(10, "rpsm: frames of a training clip; 1 is the form without time", low=1, high=100)
    dropout: float = setting(0.1, "Dropout rate (poseformer: of whole paths)", low=0.0, high=0.9)
    loss: str = setting("mpjpe", "mpjpe: mean distance of joints; mse: squared distance, as the paper of RPSM has it",
                        choices=("mpjpe", "mse"))
    bone_ratio: float = setting(0.0, "Weight of the variance of bone ratios (Zhou et al., 2017)", low=0.0, high=100.0)
    symmetry: float = setting(0.0, "Weight of the difference between left and right bones", low=0.0, high=100.0)
    velocity: float = setting(0.0, "rpsm: weight of the velocity error (Hossain and Little, 2018)", low=0.0, high=100.0)
    learning_rate: float = setting(1e-3, "Peak learning rate of AdamW", low=1e-7, high=1.0)
    schedule: str = setting("cosine", "How the rate falls: cosine to zero; exponential by 0.99 each fiftieth of the "
                            "steps (the 50 epochs of Context-Aware PoseFormer)", choices=("cosine", "exponential"))
    amp: bool = setting(False, "Compute in bfloat16 where it is safe: twice as fast on CPUs with AVX512-BF16")
    validation: int = setting(4096, "Clips of the validation split to measure on, 40 times in a training", low=1,
                              high=1_000_000)
    device: str = setting("auto", "Where to compute; auto takes a GPU if there is one. Several: torchrun "
                          "--nproc-per-node=GPUS -m pose3d_ros.cli train ...", choices=("auto", "cpu", "cuda"))
    seed: int = setting(0, "Seed of weights and samples", low=0, high=2**31 - 1)
    threads: int = setting(1, "CPU threads of the optimiser; one more core makes the samples", low=1, high=256)
    resume: bool = setting(False, "Go on from the checkpoint in the output folder")


class Source(Protocol):
    """Training samples."""

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """``size`` clips; ``varied`` for training."""
        ...


def view(settings: TrainSettings) -> View:
    """Which frames the lifter sees."""
    return {"rpsm": View(settings.clip, 3, recurrent=True), "videopose3d": View(27), "poseformer": View(9),
            "martinez": View(1)}[settings.lifter]


def build(settings: TrainSettings) -> nn.Module:
    """The network for a lifter's name; its joints have a fourth number, the logarithm of sigma."""
    joints: dict[str, Any] = {"joints_in": 18, "features_in": 3, "joints_out": 17, "features_out": 4}
    if settings.lifter == "rpsm":
        return RPSMKeypoints(channels=settings.channels, units=settings.channels, stages=settings.stages,
                             recurrent=settings.clip > 1, dropout=settings.dropout, **joints)
    if settings.lifter == "poseformer":
        return PoseFormer(frames=9, drop_path=settings.dropout, **joints)
    widths = (3, 3, 3) if settings.lifter == "videopose3d" else (1, 1, 1)
    return VideoPose3D(filter_widths=widths, causal=True, channels=settings.channels, dropout=settings.dropout,
                       **joints)


def load(folder: Path) -> tuple[nn.Module, TrainSettings]:
    """The network of a training's folder as its checkpoint has it. Raises ``ValueError``."""
    try:
        settings = TrainSettings(**json.loads((folder / "settings.json").read_text()))
        saved = torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder}: expected a folder that 'pose3d train' wrote ({error})") from None
    network = build(settings)
    network.load_state_dict(saved["network"])
    return network.eval(), settings


def answer(network: nn.Module, features: Tensor) -> Tensor:
    """Joints [B x T x K x J x 4] of every answered frame and stage from features [B x T x 18 x 3]."""
    output = network(features)
    if isinstance(output, tuple):  # RPSM: joints and state
        return cast(Tensor, output[0])
    return cast(Tensor, output[:, -1:, None])


def objective(output: Tensor, target_m: Tensor, settings: TrainSettings) -> Tensor:
    """What is minimised, for output [B x T x K x J x 4] and target [B x T x J x 3]."""
    poses = output[..., :3]
    main = losses.mean_distance if settings.loss == "mpjpe" else losses.squared_error
    value = main(poses, target_m) + 0.01 * losses.sigma_likelihood(output[..., 3], poses, target_m)
    if settings.bone_ratio:
        value = value + settings.bone_ratio * losses.bone_ratio(poses)
    if settings.symmetry:
        value = value + settings.symmetry * losses.symmetry(poses)
    if settings.velocity:
        value = value + settings.velocity * losses.velocity(poses, target_m)
    return value


class _Samples(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Part i is made from the seed, i and the process alone, so that a resumed run sees what an unbroken one would."""

    def __init__(self, source: Source, settings: TrainSettings, first: int, rank: int) -> None:
        self.source, self.settings, self.first, self.rank = source, settings, first, rank

    def __len__(self) -> int:
        return (self.settings.steps - self.first) * self.settings.accumulate

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.settings.seed, self.rank, self.first * self.settings.accumulate + index])
        looks = view(self.settings)
        clips = self.source.sample(rng, max(self.settings.batch // self.settings.accumulate, 2))
        return looks(looks.varied(rng, clips))


def source(settings: TrainSettings, split: str) -> Source:
    """Where the samples come from. Raises ``ValueError`` or ``OSError``."""
    data, offsets = Path(settings.data), view(settings).offsets
    if (data / "index.json").is_file():
        detector = Detector.load(Path(settings.noise), split) if settings.noise else None
        return Mocap.load(data, split, offsets, detector)
    if settings.noise:
        raise ValueError(f"noise: recordings come with their own keypoints, leave it out; or is {data} meant to be "
                         f"motion capture? Then it lacks index.json")
    return Recordings.load(data, split, offsets)


def evaluate(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Errors in millimetres of the last stage at the newest frame, with flip test, and how well sigma tells them."""
    network.eval()
    with torch.no_grad():
        tested = flip_test(network)
        output = torch.cat([tested(features) for features, _ in batches]).float().cpu().numpy()
    truth = torch.cat([target[:, -1] for _, target in batches]).cpu().numpy()
    predicted = output[..., :3] - output[:, :1, :3]
    square = ((predicted - truth) ** 2).mean(-1)[:, 1:]
    return {"mpjpe_mm": float(mpjpe(predicted, truth).mean() * 1e3),
            "pa_mpjpe_mm": float(pa_mpjpe(predicted, truth).mean() * 1e3),
            "normalised_squared_error": float((square / np.exp(2 * output[:, 1:, 3])).mean())}


def train(settings: TrainSettings, stop_after: int | None = None) -> Path:
    """Run or resume a training, at most to step ``stop_after``; returns the ONNX file, or the checkpoint before it."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(settings.device if settings.device != "auto" else
                          "cuda" if torch.cuda.is_available() else "cpu")
    if processes > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        return _Run(settings, device, rank, processes).to(stop_after or settings.steps)
    finally:
        if processes > 1:
            distributed.destroy_process_group()


class _Run:
    """One training; with several processes, this one's part of it. The first writes."""

    def __init__(self, settings: TrainSettings, device: torch.device, rank: int, processes: int) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.rank = settings, device, rank
        self.folder = Path(settings.output)
        self.network = build(settings).to(device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), settings.learning_rate, weight_decay=0.01)
        self.schedule: torch.optim.lr_scheduler.LRScheduler
        if settings.schedule == "cosine":
            self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.steps)
        else:
            self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.99 ** (50 / settings.steps))
        self.step = 0
        self.checkpoint = self.folder / "checkpoint.pt"
        if settings.resume:
            saved = torch.load(self.checkpoint, weights_only=True, map_location=device)
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.schedule.load_state_dict(saved["schedule"])
            self.step = saved["step"]
        self.trained: nn.Module = DistributedDataParallel(self.network) if processes > 1 else self.network

    def to(self, last: int) -> Path:
        """Train to step ``last``."""
        settings = self.settings
        loader = iter(DataLoader(_Samples(source(settings, "train"), settings, self.step, self.rank), batch_size=None,
                                 num_workers=1, prefetch_factor=4, generator=torch.Generator()))
        if self.rank:
            for _ in range(self.step, last):
                self._advance(loader)
            return self.checkpoint
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
        validation = self._validation()
        every = max(settings.steps // 40, 1)
        running, first = 0.0, self.step
        with SummaryWriter(str(self.folder)) as board, tqdm(
                initial=first, total=settings.steps, desc=settings.lifter, mininterval=5) as progress:
            while self.step < last:
                running += (self._advance(loader) - running) / min(self.step - first, 100)
                progress.update()
                if self.step % every == 0 or self.step == last:
                    scores = {"loss": running, **evaluate(self.network, validation)}
                    progress.set_postfix(mpjpe=f"{scores['mpjpe_mm']:.1f}", pa=f"{scores['pa_mpjpe_mm']:.1f}")
                    for name, value in scores.items():
                        board.add_scalar(name, value, self.step)
                    self._save(scores)
        path = self.folder / f"{settings.lifter}.onnx"
        return export(self.network.cpu(), path) if last == settings.steps else self.checkpoint

    def _advance(self, loader: Any) -> float:
        """One step of the optimiser; the loss before it. Randomness depends on the step alone, so that it resumes."""
        torch.manual_seed(hash((self.settings.seed, self.rank, self.step)) % 2**63)
        self.network.train()
        self.optimiser.zero_grad()
        total = 0.0
        parts = self.settings.accumulate
        for part in range(parts):
            features, target_m = (value.to(self.device) for value in next(loader))
            apart = part < parts - 1 and isinstance(self.trained, DistributedDataParallel)
            with self.trained.no_sync() if apart else nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.amp):
                    output = answer(self.trained, features)
                value = objective(output.float(), target_m, self.settings) / parts
                value.backward()
            total += float(value.detach())
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        return total

    def _validation(self) -> list[tuple[Tensor, Tensor]]:
        looks, samples = view(self.settings), source(self.settings, "val")
        rng = np.random.default_rng([self.settings.seed, 2**32])
        features, target_m = looks(looks.varied(rng, samples.sample(rng, self.settings.validation, varied=False)))
        parts = (torch.from_numpy(values).to(self.device).split(1024) for values in (features, target_m))
        return list(zip(*parts, strict=True))

    def _save(self, scores: dict[str, float]) -> None:
        with (self.folder / "curve.jsonl").open("a") as curve:
            curve.write(json.dumps({"step": self.step, **scores}) + "\n")
        partial = self.checkpoint.with_suffix(".partial")
        torch.save({"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
                    "schedule": self.schedule.state_dict()}, partial)
        partial.replace(self.checkpoint)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d train``."""
    add_options(parser, TrainSettings)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    sys.stdout.write(f"{train(from_options(options, TrainSettings))}\n")
    return 0
