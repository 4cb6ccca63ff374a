"""The recurrent network, from built-in Keras layers."""

from __future__ import annotations

import keras

from models.config import Recipe

_LAYERS = {
    "rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "bilstm": keras.layers.LSTM,
    "bigru": keras.layers.GRU,
}


def build_network(recipe: Recipe, n_features: int) -> keras.Model:
    """Build the untrained network: (batch, lookback, n_features) to (batch, horizon)."""
    network = keras.Sequential(name=recipe.cell)
    network.add(keras.Input((recipe.lookback, n_features)))
    for depth in range(recipe.layers):
        layer = _LAYERS[recipe.cell](recipe.units, return_sequences=depth < recipe.layers - 1)
        network.add(keras.layers.Bidirectional(layer) if recipe.cell.startswith("bi") else layer)
    network.add(keras.layers.Dropout(recipe.dropout))
    if recipe.dense_units:
        network.add(keras.layers.Dense(recipe.dense_units))
    network.add(keras.layers.Dense(recipe.horizon, activation=recipe.output_activation))
    return network
