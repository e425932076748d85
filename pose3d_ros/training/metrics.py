"""Errors of 3D poses, as the field reports them. Poses are (..., J, 3) in metres; results keep the leading axes."""

from __future__ import annotations

import numpy as np


def mpjpe(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean per-joint position error in metres (Human3.6M protocol 1 when both are relative to the root)."""
    return np.linalg.norm(predicted - truth, axis=-1).mean(-1)


def align(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``predicted`` moved, turned and scaled to fit ``truth`` best in the least squares sense (Umeyama, 1991)."""
    mean_p, mean_t = predicted.mean(-2, keepdims=True), truth.mean(-2, keepdims=True)
    p, t = predicted - mean_p, truth - mean_t
    u, s, vt = np.linalg.svd(np.swapaxes(p, -1, -2) @ t)
    sign = np.ones_like(s)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / np.maximum((p**2).sum((-1, -2)), 1e-12)
    return scale[..., None, None] * (p @ rotation) + mean_t


def pa_mpjpe(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """MPJPE after ``align`` (Human3.6M protocol 2)."""
    return mpjpe(align(predicted, truth), truth)
