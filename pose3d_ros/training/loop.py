"""Train a lifter, on motion capture seen by simulated cameras or on recordings with 3D truth."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.networks.rpsm import RPSM, PoseModule
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training import losses
from pose3d_ros.training.build import CHECKPOINT, TrainSettings, build, fresh, kept, sources, view
from pose3d_ros.training.data.image_clips import PictureView
from pose3d_ros.training.data.windows import Inputs, View
from pose3d_ros.training.export import export, flip_test
from pose3d_ros.training.onnx_weights import go_on, note

PREFETCH = 4  # parts that each process makes ahead


def parameters(network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Groups for the optimiser: where to sample is learnt at a tenth of the rate (Context-Aware
    PoseFormer).
    """
    learnt = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    slow = [value for name, value in learnt if "sampling_offsets" in name]
    others = [value for name, value in learnt if "sampling_offsets" not in name]
    return [{"params": others, "lr": rate}, *([{"params": slow, "lr": rate / 10}] if slow else [])]


def on(device: torch.device, inputs: Inputs | Tensor | Sequence[Tensor]) -> list[Tensor]:
    """What a network is given, on a device."""
    several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return [torch.as_tensor(value).to(device) for value in several]


def answer(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Joints [B x T x K x J x 4] of every answered frame and stage from keypoints [B x T x 18 x 3]
    and what else.
    """
    output = network(*inputs)
    if isinstance(output, tuple):  # joints and state
        return cast(Tensor, output[0])
    return cast(Tensor, output[:, -1:, None])


def known_objective(output: Tensor, target_m: Tensor, known: Tensor) -> Tensor:
    """Mean distance and likelihood of the ``known`` [B x T x J] joints alone, as if there were no
    others.
    """
    stages = output.transpose(2, 3)[known][None, None].transpose(2, 3)  # [1 x 1 x K x N x 4]
    truth = target_m[known][None, None]
    return losses.mean_distance(stages[..., :3], truth) + 0.01 * losses.sigma_likelihood(
        stages[..., 3], stages[..., :3], truth
    )


def objective(output: Tensor, target_m: Tensor, settings: TrainSettings) -> Tensor:
    """What is minimised, for output [B x T x K x J x 4] and target [B x T x J x 3], of whose
    joints some may be NaN.
    """
    if not (known := target_m.isfinite().all(-1)).all():
        return known_objective(output, target_m, known)
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
    """Part i is made from the seed, i and the process alone, so that a resumed run sees what an
    unbroken one would.

    The parts of a step come from one source after the other, the last of which may be ``fresh``.
    """

    def __init__(self, settings: TrainSettings, looks: View, first: int, rank: int) -> None:
        self.looks, self.settings, self.first, self.rank = looks, settings, first, rank
        self.fresh = fresh(settings, rank=rank)
        self.sources = sources(settings, "train")
        self.kinds = len(self.sources) + (self.fresh is not None)
        self.parts = settings.accumulate * self.kinds

    def __len__(self) -> int:
        return (self.settings.steps - self.first) * self.parts

    def __getitem__(self, index: int) -> tuple[Inputs, np.ndarray]:
        index += self.first * self.parts
        rng = np.random.default_rng([self.settings.seed, self.rank, index])
        kind = index % self.kinds
        source = (
            self.fresh.at(index // self.parts)
            if self.fresh and kind == len(self.sources)
            else self.sources[kind]
        )
        clips = source.sample(rng, max(self.settings.batch // self.settings.accumulate, 2))
        return self.looks(self.looks.varied(rng, clips))

    def order(self) -> Iterator[int]:
        """What to make next, once everything for it is there: asked for by the process that
        trains.
        """
        for index in range(len(self)):
            if self.fresh:
                ends = (
                    max(index - PREFETCH * self.settings.workers, 0),
                    index,
                )  # others may still be making the first
                oldest, step = (self.first + end // self.parts for end in ends)
                self.fresh.prepare(step, oldest)
            yield index

    def close(self) -> None:
        if self.fresh:
            self.fresh.close()


def _keep_statistics(network: nn.Module) -> None:
    """A short training goes on with the statistics that the network has: a few people's are not
    those of all.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def evaluate(network: nn.Module, batches: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
    """Errors in millimetres of the last stage at the newest frame, with flip test, and how well
    sigma tells them.
    """
    network.eval()
    with torch.no_grad():
        tested = flip_test(network)
        output = torch.cat([tested(*inputs) for inputs, _ in batches]).float().cpu().numpy()
    truth = torch.cat([target[:, -1] for _, target in batches]).cpu().numpy()
    predicted = output[..., :3] - output[:, :1, :3]
    square = ((predicted - truth) ** 2).mean(-1)[:, 1:]
    known = np.isfinite(truth).all(-1)
    pairs = (
        [(predicted, truth)]
        if known.all()
        else [(p[k], t[k]) for p, t, k in zip(predicted, truth, known, strict=True) if k.any()]
    )
    return {
        "mpjpe_mm": float(np.mean([mpjpe(p, t).mean() for p, t in pairs]) * 1e3),
        "pa_mpjpe_mm": float(np.mean([pa_mpjpe(p, t).mean() for p, t in pairs]) * 1e3),
        "normalised_squared_error": float(np.nanmean(square / np.exp(2 * output[:, 1:, 3]))),
    }


def train(settings: TrainSettings, stop_after: int | None = None) -> Path:
    """Run or resume a training, at most to step ``stop_after``; returns the ONNX file, or the
    checkpoint before it.

    Steps of the pre-training count as well.
    """
    if settings.pretrain_steps and settings.lifter != "rpsm-images":
        raise ValueError(
            f"pretrain_steps: expected 0 for {settings.lifter}, which sees no pictures"
        )
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(
        settings.device
        if settings.device != "auto"
        else "cuda"
        if torch.cuda.is_available()
        else "cpu"
    )
    if processes > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        before, last = (
            settings.pretrain_steps,
            stop_after or settings.pretrain_steps + settings.steps,
        )
        network: nn.Module | None = None
        if before and not (settings.resume and (Path(settings.output) / CHECKPOINT).exists()):
            pretraining = _Pretraining(settings, device, rank, processes)
            path = pretraining.to(min(before, last))
            if last <= before:
                return path
            network, settings = pretraining.pose_module.released(), replace(settings, resume=False)
        elif settings.start and not settings.resume:
            network = build(settings)
            go_on(network, Path(settings.start))
        return _Run(settings, device, rank, processes, network).to(last - before)
    finally:
        if processes > 1:
            distributed.destroy_process_group()


class _Run:
    """One training; with several processes, this one's part of it. The first writes."""

    def __init__(
        self,
        settings: TrainSettings,
        device: torch.device,
        rank: int,
        processes: int,
        network: nn.Module | None = None,
    ) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.rank = settings, device, rank
        self.looks = view(settings)
        self.folder = Path(settings.output)
        self.network = (network or build(settings)).to(device)
        self.optimiser = torch.optim.AdamW(
            parameters(self.network, settings.learning_rate), weight_decay=0.01
        )
        self.schedule: torch.optim.lr_scheduler.LRScheduler
        if settings.schedule == "cosine":
            self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
                self.optimiser, settings.steps
            )
        else:
            self.schedule = torch.optim.lr_scheduler.ExponentialLR(
                self.optimiser, 0.99 ** (50 / settings.steps)
            )
        self.step = 0
        self.checkpoint = self.folder / CHECKPOINT
        if settings.resume:
            saved = torch.load(self.checkpoint, weights_only=True, map_location=device)
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.schedule.load_state_dict(saved["schedule"])
            self.step = saved["step"]
        self.trained: nn.Module = (
            DistributedDataParallel(self.network) if processes > 1 else self.network
        )

    def to(self, last: int) -> Path:
        """Train to step ``last``."""
        with closing(_Samples(self.settings, self.looks, self.step, self.rank)) as samples:
            return self._train(samples, last)

    def _train(self, samples: _Samples, last: int) -> Path:
        settings = self.settings
        self.parts = samples.parts
        loader = iter(
            DataLoader(
                samples,
                batch_size=None,
                sampler=samples.order(),
                num_workers=settings.workers,
                prefetch_factor=PREFETCH,
                generator=torch.Generator(),
            )
        )
        if self.rank:
            for _ in range(self.step, last):
                self._advance(loader)
            return self.checkpoint
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
        validation = self._validation()
        every = max(settings.steps // 40, 1)
        running, first = 0.0, self.step
        with (
            SummaryWriter(str(self.folder)) as board,
            tqdm(
                initial=first, total=settings.steps, desc=settings.lifter, mininterval=5
            ) as progress,
        ):
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
        """One step of the optimiser; the loss before it. Randomness depends on the step alone, so
        that it resumes.
        """
        torch.manual_seed(hash((self.settings.seed, self.rank, self.step)) % 2**63)
        self.network.train()
        if self.settings.start:
            _keep_statistics(self.network)
        self.optimiser.zero_grad()
        total = 0.0
        parts = self.parts
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
        looks, samples = self.looks, sources(self.settings, "val")[-1]
        rng = np.random.default_rng([self.settings.seed, 2**32])
        inputs, target_m = looks(
            looks.varied(rng, samples.sample(rng, self.settings.validation, varied=False))
        )
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
        network = kept(self.network.cpu(), self.settings)
        return note(export(network, self.folder / f"{self.settings.lifter}.onnx"), self.settings)

    def _save(self, scores: dict[str, float]) -> None:
        with (self.folder / "curve.jsonl").open("a") as curve:
            curve.write(json.dumps({"step": self.step, **scores}) + "\n")
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "schedule": self.schedule.state_dict(),
            },
            partial,
        )
        partial.replace(self.checkpoint)


class _Pretraining(_Run):
    """RPSM's 2D pose module learns to find joints in single pictures, before the training in
    3D.
    """

    def __init__(
        self, settings: TrainSettings, device: torch.device, rank: int, processes: int
    ) -> None:
        torch.manual_seed(settings.seed)
        self.pose_module = PoseModule(cast(RPSM, build(settings, heatmaps=len(H36M17))))
        super().__init__(
            replace(
                settings,
                output=str(Path(settings.output) / "pretraining"),
                clip=1,
                steps=settings.pretrain_steps,
                batch=settings.batch * settings.clip,
            ),
            device,
            rank,
            processes,
            self.pose_module,
        )
        self.looks = PictureView(1, points=True)

    def _answer(self, inputs: Sequence[Tensor]) -> Tensor:
        return cast(Tensor, self.trained(*inputs))

    def _objective(self, output: Tensor, target: Tensor) -> Tensor:
        loss = losses.integral if self.settings.pretraining == "integral" else losses.heat_maps
        return loss(output, target.flatten(0, 1))

    def _evaluate(self, validation: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
        """Mean distance of joints in the picture from the last stage's, in parts of a hundred of
        its side.
        """
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
    parser.add_argument(
        "--from-rig",
        type=Path,
        metavar="RECORDING",
        help="rig file whose cameras have videos, or a "
        "rosbag2 with their pictures or keypoints (and --rig): the people in it, labelled by the "
        "cameras together, teach the shipped lifter or the one of --start, beside --data",
    )
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file of the cameras in the rosbag2"
    )
    add_options(parser, TrainSettings)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    settings = from_options(options, TrainSettings)
    if options.from_rig is not None and settings.makehuman:
        raise ValueError("makehuman: expected it empty with from-rig, which knows its own people")
    if options.from_rig is None:
        sys.stdout.write(f"{train(settings)}\n")
        return 0
    from pose3d_ros.training.rig.finetune import (
        teach,
    )  # runs the detector, which no other training needs

    sys.stdout.write(f"{teach(settings, options.from_rig, options.rig)}\n")
    return 0
