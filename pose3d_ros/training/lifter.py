"""Train a lifter, on motion capture seen by simulated cameras or on recordings with 3D truth."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
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
from pose3d_ros.networks.rpsm import RPSM, PoseModule, RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.settings import Settings, setting
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training import losses
from pose3d_ros.training.clips import Clips, Inputs, View
from pose3d_ros.training.context import ContextLifter, CropView, SeenPeople
from pose3d_ros.training.dataset import Recordings
from pose3d_ros.training.export import export, flip_test
from pose3d_ros.training.images import Pictures, PictureView
from pose3d_ros.training.metrics import mpjpe, pa_mpjpe
from pose3d_ros.training.mocap import Mocap
from pose3d_ros.training.noise import Detector

LIFTERS = ("rpsm", "videopose3d", "poseformer", "martinez", "context", "rpsm-images")
_CHECKPOINT = "checkpoint.pt"


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
        saved = torch.load(folder / _CHECKPOINT, weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder}: expected a folder that 'pose3d train' wrote ({error})") from None
    network = build(settings)
    network.load_state_dict(saved["network"])
    return network.eval(), settings


def parameters(network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Groups for the optimiser: where to sample is learnt at a tenth of the rate (Context-Aware PoseFormer)."""
    learnt = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    slow = [value for name, value in learnt if "sampling_offsets" in name]
    others = [value for name, value in learnt if "sampling_offsets" not in name]
    return [{"params": others, "lr": rate}, *([{"params": slow, "lr": rate / 10}] if slow else [])]


def on(device: torch.device, inputs: Inputs | Tensor | Sequence[Tensor]) -> list[Tensor]:
    """What a network is given, on a device."""
    several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return [torch.as_tensor(value).to(device) for value in several]


def answer(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Joints [B x T x K x J x 4] of every answered frame and stage from keypoints [B x T x 18 x 3] and what else."""
    output = network(*inputs)
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


class _Samples(Dataset[tuple[Inputs, np.ndarray]]):
    """Part i is made from the seed, i and the process alone, so that a resumed run sees what an unbroken one would."""

    def __init__(self, source: Source, looks: View, settings: TrainSettings, first: int, rank: int) -> None:
        self.source, self.looks, self.settings, self.first, self.rank = source, looks, settings, first, rank

    def __len__(self) -> int:
        return (self.settings.steps - self.first) * self.settings.accumulate

    def __getitem__(self, index: int) -> tuple[Inputs, np.ndarray]:
        rng = np.random.default_rng([self.settings.seed, self.rank, self.first * self.settings.accumulate + index])
        clips = self.source.sample(rng, max(self.settings.batch // self.settings.accumulate, 2))
        return self.looks(self.looks.varied(rng, clips))


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


def evaluate(network: nn.Module, batches: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
    """Errors in millimetres of the last stage at the newest frame, with flip test, and how well sigma tells them."""
    network.eval()
    with torch.no_grad():
        tested = flip_test(network)
        output = torch.cat([tested(*inputs) for inputs, _ in batches]).float().cpu().numpy()
    truth = torch.cat([target[:, -1] for _, target in batches]).cpu().numpy()
    predicted = output[..., :3] - output[:, :1, :3]
    square = ((predicted - truth) ** 2).mean(-1)[:, 1:]
    return {"mpjpe_mm": float(mpjpe(predicted, truth).mean() * 1e3),
            "pa_mpjpe_mm": float(pa_mpjpe(predicted, truth).mean() * 1e3),
            "normalised_squared_error": float((square / np.exp(2 * output[:, 1:, 3])).mean())}


def train(settings: TrainSettings, stop_after: int | None = None) -> Path:
    """Run or resume a training, at most to step ``stop_after``; returns the ONNX file, or the checkpoint before it.

    Steps of the pre-training count as well.
    """
    if settings.pretrain_steps and settings.lifter != "rpsm-images":
        raise ValueError(f"pretrain_steps: expected 0 for {settings.lifter}, which sees no pictures")
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(settings.device if settings.device != "auto" else
                          "cuda" if torch.cuda.is_available() else "cpu")
    if processes > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        before, last = settings.pretrain_steps, stop_after or settings.pretrain_steps + settings.steps
        network = None
        if before and not (settings.resume and (Path(settings.output) / _CHECKPOINT).exists()):
            pretraining = _Pretraining(settings, device, rank, processes)
            path = pretraining.to(min(before, last))
            if last <= before:
                return path
            network, settings = pretraining.pose_module.released(), replace(settings, resume=False)
        return _Run(settings, device, rank, processes, network).to(last - before)
    finally:
        if processes > 1:
            distributed.destroy_process_group()


class _Run:
    """One training; with several processes, this one's part of it. The first writes."""

    def __init__(self, settings: TrainSettings, device: torch.device, rank: int, processes: int,
                 network: nn.Module | None = None) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.rank = settings, device, rank
        self.looks = view(settings)
        self.folder = Path(settings.output)
        self.network = (network or build(settings)).to(device)
        self.optimiser = torch.optim.AdamW(parameters(self.network, settings.learning_rate), weight_decay=0.01)
        self.schedule: torch.optim.lr_scheduler.LRScheduler
        if settings.schedule == "cosine":
            self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.steps)
        else:
            self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.99 ** (50 / settings.steps))
        self.step = 0
        self.checkpoint = self.folder / _CHECKPOINT
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
        samples = _Samples(source(settings, "train"), self.looks, settings, self.step, self.rank)
        loader = iter(DataLoader(samples, batch_size=None, num_workers=settings.workers, prefetch_factor=4,
                                 generator=torch.Generator()))
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
                    scores = {"loss": running, **self._evaluate(validation)}
                    progress.set_postfix({name: f"{value:.3g}" for name, value in scores.items()})
                    for name, value in scores.items():
                        board.add_scalar(name, value, self.step)
                    self._save(scores)
        return self._export() if last == settings.steps else self.checkpoint

    def _advance(self, loader: Any) -> float:
        """One step of the optimiser; the loss before it. Randomness depends on the step alone, so that it resumes."""
        torch.manual_seed(hash((self.settings.seed, self.rank, self.step)) % 2**63)
        self.network.train()
        self.optimiser.zero_grad()
        total = 0.0
        parts = self.settings.accumulate
        for part in range(parts):
            inputs, target_m = next(loader)
            apart = part < parts - 1 and isinstance(self.trained, DistributedDataParallel)
            with self.trained.no_sync() if apart else nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.amp):
                    output = self._answer(on(self.device, inputs))
                value = self._objective(output.float(), target_m.to(self.device)) / parts
                value.backward()
            total += float(value.detach())
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        return total

    def _validation(self) -> list[tuple[list[Tensor], Tensor]]:
        looks, samples = self.looks, source(self.settings, "val")
        rng = np.random.default_rng([self.settings.seed, 2**32])
        inputs, target_m = looks(looks.varied(rng, samples.sample(rng, self.settings.validation, varied=False)))
        values = (*on(self.device, inputs), *on(self.device, target_m))
        parts = [value.split(min(self.settings.batch, 256)) for value in values]
        return [(list(part[:-1]), part[-1]) for part in zip(*parts, strict=True)]

    def _answer(self, inputs: Sequence[Tensor]) -> Tensor:
        return answer(self.trained, inputs)

    def _objective(self, output: Tensor, target: Tensor) -> Tensor:
        return objective(output, target, self.settings)

    def _evaluate(self, validation: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
        return evaluate(self.network, validation)

    def _export(self) -> Path:
        return export(self.network.cpu(), self.folder / f"{self.settings.lifter}.onnx")

    def _save(self, scores: dict[str, float]) -> None:
        with (self.folder / "curve.jsonl").open("a") as curve:
            curve.write(json.dumps({"step": self.step, **scores}) + "\n")
        partial = self.checkpoint.with_suffix(".partial")
        torch.save({"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
                    "schedule": self.schedule.state_dict()}, partial)
        partial.replace(self.checkpoint)


class _Pretraining(_Run):
    """RPSM's 2D pose module learns to find joints in single pictures, before the training in 3D."""

    def __init__(self, settings: TrainSettings, device: torch.device, rank: int, processes: int) -> None:
        torch.manual_seed(settings.seed)
        self.pose_module = PoseModule(cast(RPSM, build(settings, heatmaps=len(H36M17))))
        super().__init__(replace(settings, output=str(Path(settings.output) / "pretraining"), clip=1,
                                 steps=settings.pretrain_steps, batch=settings.batch * settings.clip),
                         device, rank, processes, self.pose_module)
        self.looks = PictureView(1, points=True)

    def _answer(self, inputs: Sequence[Tensor]) -> Tensor:
        return cast(Tensor, self.trained(*inputs))

    def _objective(self, output: Tensor, target: Tensor) -> Tensor:
        loss = losses.integral if self.settings.pretraining == "integral" else losses.heat_maps
        return loss(output, target.flatten(0, 1))

    def _evaluate(self, validation: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
        """Mean distance of joints in the picture from the last stage's, in parts of a hundred of its side."""
        points = losses.soft_argmax if self.settings.pretraining == "integral" else losses.peaks
        self.network.eval()
        with torch.no_grad():
            found = torch.cat([points(self.network(*inputs)[:, -1]) for inputs, _ in validation])
        truth = torch.cat([target.flatten(0, 1) for _, target in validation])
        within = (truth.abs() <= 1).all(-1)
        return {"error_2d_percent": float((found - truth)[within].norm(dim=-1).mean()) * 50}

    def _export(self) -> Path:
        return self.checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d train``."""
    add_options(parser, TrainSettings)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    sys.stdout.write(f"{train(from_options(options, TrainSettings))}\n")
    return 0
