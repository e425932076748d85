"""What the decoders of several networks share."""

from __future__ import annotations

import numpy as np


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function in float64, without overflow."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(float), -80, 80)))
