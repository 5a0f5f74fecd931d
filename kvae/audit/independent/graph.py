"""A network as its configuration draws it: a graph of layers, each with its inputs."""

from typing import Any

import numpy as np

from kvae.audit.independent.archive import Beyond, Weights, kind
from kvae.audit.independent.layers import FORMULAS

_TENSOR, _INPUT = "__keras_tensor__", "InputLayer"


class Network:
    """A functional Keras model of one input and one output.

    Args:
        part: its configuration.
        weights: those of its layers.
        dtype: in which it computes.

    Raises:
        Beyond: it is no such model, or has a layer that there is no formula for.
    """

    def __init__(self, part: dict[str, Any], weights: Weights, dtype: Any):
        if kind(part) != "Functional":
            raise Beyond(f"the network {kind(part)}")
        config = part["config"]
        self._layers = {layer["config"]["name"]: layer for layer in config["layers"]}
        for name, layer in self._layers.items():
            if kind(layer) not in (*FORMULAS, _INPUT):
                raise Beyond(f"the layer {name!r} of class {kind(layer)}")
        (self._input, *_), (self._output, self._node, _) = (
            _one(config[way]) for way in ("input_layers", "output_layers")
        )
        shape = self._layers[self._input]["config"]["batch_shape"]
        self.input_shape = tuple(shape[1:])
        self._weights = {
            name: [np.asarray(array, dtype) for array in weights.part(name).own]
            for name, layer in self._layers.items()
            if kind(layer) != _INPUT
        }

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What it answers to x, `(batch, *input_shape)`."""
        known = {(self._input, 0): x}
        waiting = [
            (name, number, _places(node["args"]))
            for name, layer in self._layers.items()
            for number, node in enumerate(layer["inbound_nodes"])
        ]
        while (self._output, self._node) not in known:
            left = []
            for name, number, places in waiting:
                several = isinstance(places, list)
                if not all(place in known for place in (places if several else [places])):
                    left.append((name, number, places))
                    continue
                inputs = [known[place] for place in places] if several else known[places]
                layer = self._layers[name]
                formula = FORMULAS[kind(layer)]
                known[name, number] = formula(layer["config"], self._weights[name], inputs)
            if len(left) == len(waiting):
                raise Beyond(f"a network whose layer {left[0][0]!r} has no input")
            waiting = left
        return known[self._output, self._node]


def _one(places: Any) -> Any:
    """The place of the one input or output."""
    places = places if isinstance(places[0], list) else [places]
    if len(places) != 1:
        raise Beyond(f"a network of {len(places)} inputs or outputs")
    return places[0]


def _places(args: Any) -> Any:
    """Where a layer's one argument comes from, or each in a list of them: layer and its node."""
    if len(args) != 1:
        raise Beyond(f"a layer called with {len(args)} arguments")
    (argument,) = args
    several = argument if isinstance(argument, list) else [argument]
    if any(one.get("class_name") != _TENSOR for one in several):
        raise Beyond("a layer called with something that is no layer's output")
    found = [tuple(one["config"]["keras_history"][:2]) for one in several]
    return found if isinstance(argument, list) else found[0]
