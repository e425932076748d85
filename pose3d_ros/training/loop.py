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

"""The training loop: optimiser steps, validation, checkpoints, export."""

from __future__ import annotations

import json
import os
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

from pose3d_ros.errors import quoted
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.networks.rpsm import RPSM, PoseModule, PoseSequenceMachine
from pose3d_ros.networks.torch_file import CheckpointError
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training import losses
from pose3d_ros.training.build import build
from pose3d_ros.training.checkpoint import (
    CHECKPOINT,
    SETTINGS,
    build_with_base,
    initial_network,
    interpolate_weights,
    read,
)
from pose3d_ros.training.data.image_clips import ImageInputs
from pose3d_ros.training.data.source import (
    check_data,
    lifter_inputs,
    render_stream,
    sources,
)
from pose3d_ros.training.data.windows import Inputs, LifterInputs
from pose3d_ros.training.export import export, flip_test
from pose3d_ros.training.onnx_weights import write_metadata
from pose3d_ros.training.settings import TrainSettings

PREFETCH = 4  # parts of steps that each process makes ahead


def parameters(network: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser: sampling offsets have a tenth of the rate (Context-Aware
    PoseFormer).
    """
    trainable = [
        (name, value) for name, value in network.named_parameters() if value.requires_grad
    ]
    offsets = [value for name, value in trainable if "sampling_offsets" in name]
    others = [value for name, value in trainable if "sampling_offsets" not in name]
    groups = [{"params": others, "lr": rate}]
    return [*groups, {"params": offsets, "lr": rate / 10}] if offsets else groups


def answering_layer(network: nn.Module) -> nn.Module:
    """The last layer of a lifter, whose outputs are its answer. Raises ``ValueError`` for lifters
    that correct another's answer, or are of another kind.
    """
    if isinstance(network, PoseSequenceMachine):
        return network.stage(network.count - 1).recurrent.pose
    if isinstance(network, VideoPose3D):
        return network.shrink
    raise ValueError(
        "loss: expected sigma with rpsm, rpsm-context, videopose3d or martinez, got another lifter"
    )


def to_device(device: torch.device, inputs: Inputs | Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The inputs of a network on a device."""
    several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return [torch.as_tensor(value).to(device) for value in several]


def predict(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Joints [B x T x K x J x 4] of K stages in every frame that has a target, from keypoints [B x
    T x 18 x 3] or images and the lifter's other inputs.
    """
    output = network(*inputs)
    if isinstance(output, tuple):  # joints and state
        return cast(Tensor, output[0])
    return cast(Tensor, output[:, -1:, None])


class _Samples(Dataset[tuple[Inputs, np.ndarray]]):
    """Inputs and targets of the parts of all steps.

    Part i follows from the seed, i and the process alone, so that a resumed run gets the same ones
    as an unbroken run. The parts of a step come from one source after the other, the last of which
    may be people who are rendered meanwhile.
    """

    def __init__(
        self, settings: TrainSettings, inputs: LifterInputs, first: int, rank: int
    ) -> None:
        self.inputs, self.settings, self.first, self.rank = inputs, settings, first, rank
        self.rendered = render_stream(settings, rank=rank)
        self.sources = sources(settings, "train")
        self.kinds = len(self.sources) + (self.rendered is not None)
        self.parts = settings.accumulate * self.kinds

    def __len__(self) -> int:
        return (self.settings.steps - self.first) * self.parts

    def __getitem__(self, index: int) -> tuple[Inputs, np.ndarray]:
        index += self.first * self.parts
        rng = np.random.default_rng([self.settings.seed, self.rank, index])
        kind = index % self.kinds
        source = (
            self.rendered.at(index // self.parts)
            if self.rendered and kind == len(self.sources)
            else self.sources[kind]
        )
        clips = source.sample(rng, max(self.settings.batch // self.settings.accumulate, 2))
        return self.inputs(self.inputs.varied(rng, clips))

    def order(self) -> Iterator[int]:
        """Indices in order, each once its shards are rendered; for the training process."""
        for index in range(len(self)):
            if self.rendered:
                # Other processes may still be working on the oldest.
                oldest = (
                    self.first + max(index - PREFETCH * self.settings.workers, 0) // self.parts
                )
                self.rendered.prepare(self.first + index // self.parts, oldest)
            yield index

    def close(self) -> None:
        """End the processes that render."""
        if self.rendered:
            self.rendered.close()


def _freeze_batch_norm_statistics(network: nn.Module) -> None:
    """Keep the statistics that batch norms have: in a short training they would become those of a
    few people.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def evaluate(network: nn.Module, batches: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
    """Errors in millimetres of the last stage at the newest frame, with flip test, and their
    squares divided by the predicted variance (1 if sigma is right).
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
    """Run or resume a training, at most to step ``stop_after``, where steps of the pre-training
    count as well. Returns the ONNX file, or the checkpoint of a training that was stopped.

    Raises ``ValueError``, ``OSError`` or, when rendering fails, ``RuntimeError``.
    """
    check_data(settings)
    if settings.loss == "sigma" and not settings.init_from:
        raise ValueError(
            "loss: expected init-from with sigma, which is learnt for a trained lifter's poses; "
            "pass --init-from FILE.onnx"
        )
    if settings.pretrain_steps and settings.lifter != "rpsm-images":
        raise ValueError(
            f"pretrain_steps: expected 0 for {settings.lifter}, which takes no images"
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
        elif settings.init_from and not settings.resume:
            network = initial_network(settings)
        return _Run(settings, device, rank, processes, network).to(last - before)
    finally:
        if processes > 1:
            distributed.destroy_process_group()


class _Run:
    """One training; with several processes, this process' part of it. The first writes files."""

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
        self.inputs = lifter_inputs(settings)
        self.folder = Path(settings.output)
        self.network = (network or build_with_base(settings)).to(device)
        if only_sigma := settings.loss == "sigma":
            # Poses give no gradient to the answer, so without decay they stay.
            self.network.requires_grad_(False)
            answering_layer(self.network).requires_grad_(True)
        self.optimiser = torch.optim.AdamW(
            parameters(self.network, settings.learning_rate),
            weight_decay=0.0 if only_sigma else 0.01,
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
            self._resume()
        self.trained: nn.Module = (
            DistributedDataParallel(self.network) if processes > 1 else self.network
        )

    def _resume(self) -> None:
        saved = read(self.checkpoint)
        try:
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.schedule.load_state_dict(saved["schedule"])
            self.step = int(saved["step"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.checkpoint}: expected the checkpoint of a training with these settings, "
                f"got another ({quoted(error)}); resume with the options that it began with"
            ) from None

    def to(self, last: int) -> Path:
        """Train to step ``last``."""
        with closing(_Samples(self.settings, self.inputs, self.step, self.rank)) as samples:
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
        (self.folder / SETTINGS).write_text(json.dumps(asdict(settings), indent=1))
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
        self.network.train(self.settings.loss != "sigma")
        if self.settings.init_from:
            _freeze_batch_norm_statistics(self.network)
        self.optimiser.zero_grad()
        total = 0.0
        parts = self.parts
        for part in range(parts):
            inputs, target_m = next(loader)
            accumulate = part < parts - 1 and isinstance(self.trained, DistributedDataParallel)
            with self.trained.no_sync() if accumulate else nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.amp):
                    output = self._predict(to_device(self.device, inputs))
                value = self._objective(output.float(), target_m.to(self.device)) / parts
                value.backward()
            total += float(value.detach())
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        return total

    def _validation(self) -> list[tuple[list[Tensor], Tensor]]:
        source = sources(self.settings, "val")[-1]
        rng = np.random.default_rng([self.settings.seed, 2**32])
        clips = source.sample(rng, self.settings.validation, varied=False)
        inputs, target_m = self.inputs(self.inputs.varied(rng, clips))
        values = (*to_device(self.device, inputs), *to_device(self.device, target_m))
        parts = [value.split(min(self.settings.batch, 256)) for value in values]
        return [(list(part[:-1]), part[-1]) for part in zip(*parts, strict=True)]

    def _predict(self, inputs: Sequence[Tensor]) -> Tensor:
        return predict(self.trained, inputs)

    def _objective(self, output: Tensor, target: Tensor) -> Tensor:
        return losses.objective(output, target, self.settings)

    def _evaluate(self, validation: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
        return evaluate(self.network, validation)

    def _export(self) -> Path:
        network = interpolate_weights(self.network.cpu(), self.settings)
        path = export(network, self.folder / f"{self.settings.lifter}.onnx")
        return write_metadata(path, self.settings)

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
    """Pre-training of RPSM's 2D pose module: joints in single images."""

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
        self.inputs: LifterInputs = ImageInputs(1, points=True)

    def _predict(self, inputs: Sequence[Tensor]) -> Tensor:
        return cast(Tensor, self.trained(*inputs))

    def _objective(self, output: Tensor, target: Tensor) -> Tensor:
        loss = losses.integral if self.settings.pretraining == "integral" else losses.heat_maps
        return loss(output, target.flatten(0, 1))

    def _evaluate(self, validation: list[tuple[list[Tensor], Tensor]]) -> dict[str, float]:
        """Mean distance of the last stage's joints from the true ones, in percent of the image's
        side.
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
