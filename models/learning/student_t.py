"""The Student-t head: what the network puts out, its likelihood and its quantiles.

The last axis of `outputs` is location, log scale and a raw number that gives the degrees of
freedom, 2.1 + softplus(raw), so that the variance is finite.
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

N_PARAMETERS = 3
LEAST_DEGREES = 2.1


def student_t_loss(targets: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
    """Negative log likelihood, mean over members, weighted by 1/step over steps: (n,).

    targets (n, horizon); outputs (n, members, horizon, 3), in the targets' unit.
    """
    ops = keras.ops
    losses = ops.mean(negative_log_likelihood(targets[:, None], outputs), axis=1)
    return ops.sum(losses * step_weights(targets.shape[-1]), axis=-1)


def step_weights(horizon: int) -> NDArray[np.float32]:
    """Weights (horizon,) of the steps' losses, falling as 1/step and summing to 1.

    Overlapping targets of step h hold an h-th of the independent days.
    """
    shares = 1 / np.arange(1, horizon + 1)
    return (shares / shares.sum()).astype(np.float32)


def negative_log_likelihood(
    targets: keras.KerasTensor, outputs: keras.KerasTensor
) -> keras.KerasTensor:
    """Minus the log density of `targets` (...) under `outputs` (..., 3), shape (...)."""
    ops = keras.ops
    location, log_scale = outputs[..., 0], outputs[..., 1]
    degrees = LEAST_DEGREES + ops.softplus(outputs[..., 2])
    z = (targets - location) * ops.exp(-log_scale)
    constant = _log_gamma(degrees / 2) - _log_gamma((degrees + 1) / 2)
    tail = (degrees + 1) / 2 * ops.log1p(z * z / degrees)
    return log_scale + constant + ops.log(degrees * np.pi) / 2 + tail


def _log_gamma(x: keras.KerasTensor) -> keras.KerasTensor:
    import tensorflow as tf  # Keras has no lgamma of its own

    return tf.math.lgamma(x)


def split_outputs(
    outputs: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Location, scale and degrees of freedom, each (...), from outputs (..., 3)."""
    values = outputs.astype(np.float64)
    degrees = LEAST_DEGREES + np.logaddexp(0.0, values[..., 2])
    return values[..., 0], np.exp(values[..., 1]), degrees


def student_t_quantiles(
    location: NDArray[np.float64],
    scale: NDArray[np.float64],
    degrees: NDArray[np.float64],
    levels: tuple[float, ...],
) -> NDArray[np.float64]:
    """Quantiles (..., n_levels) of Student-t distributions with parameters (...)."""
    points = stdtrit(degrees[..., None], np.asarray(levels))
    return location[..., None] + scale[..., None] * points
