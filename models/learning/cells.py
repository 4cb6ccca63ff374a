"""The recurrent cells: what is known about each, and a layer of many members at once.

Every cell exists twice with the same weights: as a Keras layer, which trains on windows and is
saved, and as a step in TensorFlow, which runs all members side by side (see chunks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

Step = Callable[..., tuple[tf.Tensor, tf.Tensor]]
"""One day of a cell: step(x, h, c, recurrent, bias) -> (h, c).

x (members, n, gates * units): the day's inputs times the kernel, plus the input bias. h and c
(members, n, units): the state, and what the cell remembers beside it. `recurrent` (members, units,
gates * units); `bias`: the cell's whole bias, with an axis of members in front.
"""


@dataclass(frozen=True)
class Cell:
    """What is known about a recurrent cell.

    `layer` makes its Keras layer. `gates`: blocks of `units` columns in its kernels. `step` runs a
    day of all members; a cell that reads both ways has none, since it learns from windows alone: in
    a chunk it would see the days to come. `bias_rows`: 1, or 2 where the recurrent product has a
    bias of its own. `open_gate`: the gate whose bias starts at one, if any. `both_ways`: as in
    READS_BOTH_WAYS of models/config/recipe.py, which must not import Keras.
    """

    layer: Callable[..., keras.layers.Layer]
    gates: int
    step: Step | None = None
    bias_rows: int = 1
    open_gate: int | None = None
    both_ways: bool = False

    def bias_shape(self, units: int) -> tuple[int, ...]:
        """Shape of one member's bias, as Keras has it."""
        flat = (self.gates * units,)
        return flat if self.bias_rows == 1 else (self.bias_rows, *flat)


def _rnn_step(x: Any, h: Any, c: Any, recurrent: Any, bias: Any) -> tuple[Any, Any]:
    """Elman (1990): h = tanh(x + U h)."""
    return tf.tanh(x + tf.matmul(h, recurrent)), c


def _lstm_step(x: Any, h: Any, c: Any, recurrent: Any, bias: Any) -> tuple[Any, Any]:
    """Hochreiter and Schmidhuber (1997), forget gate of Gers (2000); gates i, f, c, o."""
    z = x + tf.matmul(h, recurrent)  # (members, n, 4 units)
    enter, keep, candidate, leave = tf.split(z, 4, axis=-1)  # (members, n, units) each
    c = tf.sigmoid(keep) * c + tf.sigmoid(enter) * tf.tanh(candidate)
    return tf.sigmoid(leave) * tf.tanh(c), c


def _gru_step(x: Any, h: Any, c: Any, recurrent: Any, bias: Any) -> tuple[Any, Any]:
    """Cho (2014), reset after the product as in cuDNN; gates z, r, h."""
    units = h.shape[-1]
    inner = tf.matmul(h, recurrent) + bias[:, 1:]  # (members, n, 3 units)
    # Split rather than sliced, since a slice's gradient is a whole array of zeros around it.
    x_gates, x_candidate = tf.split(x, [2 * units, units], axis=-1)
    inner_gates, inner_candidate = tf.split(inner, [2 * units, units], axis=-1)
    update, reset = tf.split(tf.sigmoid(x_gates + inner_gates), 2, axis=-1)
    candidate = tf.tanh(x_candidate + reset * inner_candidate)
    return candidate + update * (h - candidate), c


CELLS: dict[str, Cell] = {
    "rnn": Cell(keras.layers.SimpleRNN, gates=1, step=_rnn_step),
    "lstm": Cell(keras.layers.LSTM, gates=4, step=_lstm_step, open_gate=1),
    "gru": Cell(keras.layers.GRU, gates=3, step=_gru_step, bias_rows=2),
    "bilstm": Cell(keras.layers.LSTM, gates=4, open_gate=1, both_ways=True),
    "bigru": Cell(keras.layers.GRU, gates=3, bias_rows=2, both_ways=True),
}
"""Every cell that a recipe may name."""


def run_layer(cell: Cell, x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """States (members, n, days, units) of one recurrent layer on x (members, n, days, n_inputs).

    `weights` are kernel (members, n_inputs, gates * units), recurrent kernel (members, units,
    gates * units) and bias (members, *cell.bias_shape(units)). Raises ValueError for a cell that
    reads both ways.
    """
    step = cell.step
    if step is None:
        raise ValueError("expected a cell with a step, received one that reads both ways")
    kernel, recurrent, bias = weights
    members, n, days, _ = x.shape
    units = recurrent.shape[1]
    input_bias = bias if cell.bias_rows == 1 else bias[:, 0]  # (members, gates * units)
    # Days first, since the loop reads one day at a time: (members, days * n, n_inputs).
    rows = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [members, days * n, x.shape[3]])
    projected = tf.matmul(rows, kernel) + input_bias[:, None]  # (members, days * n, gates * units)
    by_day = tf.transpose(tf.reshape(projected, [members, days, n, -1]), [1, 0, 2, 3])
    inputs = tf.TensorArray(tf.float32, days).unstack(by_day)  # days x (members, n, gates * units)
    states = tf.TensorArray(tf.float32, days, element_shape=[members, n, units])
    zeros = tf.zeros([members, n, units])

    def body(day, state, carry, states):  # type: ignore[no-untyped-def]
        state, carry = step(inputs.read(day), state, carry, recurrent, bias)
        return day + 1, state, carry, states.write(day, state)

    *_, states = tf.while_loop(
        lambda day, *_: day < days, body, (0, zeros, zeros, states), maximum_iterations=days
    )
    return tf.transpose(states.stack(), [1, 2, 0, 3])  # from (days, members, n, units)
