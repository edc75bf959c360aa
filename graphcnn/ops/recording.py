"""A record of the layers of a net, which identifies the function that the net computes.

A layer is recorded as a whole: its kind, scope, options, inputs and output shape. How it is computed is not recorded,
so the record does not depend on the precision, the form of the convolutions or the version of TensorFlow. An operation
between two layers, such as a sum of two branches, is recorded with its type, attributes and inputs.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar

from graphcnn.ops.tf1 import tf, tf1

NOT_RECORDED = {  # arguments that choose initial values, masks or the way of computing, not the layer
    "x", "scope", "init", "context", "seed", "step", "keep_prob", "portable", "training", "batch_slice",
    "fold",
}  # fmt: skip
P = ParamSpec("P")
R = TypeVar("R")


class _Node(NamedTuple):
    """A tensor of a net: its name in messages, and a digest of all that it is computed from."""

    name: str
    digest: str


class Recording:
    """The layers of a net in the order of their calls.

    Args:
        inputs: {tensor: its name}, the inputs of the net.

    Attributes:
        layers: a line of text for each layer, for each operation between layers, and for each output.
    """

    def __init__(self, inputs: Mapping[str, tf.Tensor]) -> None:
        self.layers: list[str] = []
        self._digests: set[str] = set()
        self._nodes = {tensor.name: _Node(name, _digest(name, _shape(tensor))) for name, tensor in inputs.items()}

    def fingerprint(self) -> str:
        """Return the sha256 of the layers, as hexadecimal digits; it does not depend on the order of branches."""
        return _digest(*sorted(self._digests))

    def add_output(self, name: str, tensor: tf.Tensor) -> None:
        """Record a tensor as an output of the net."""
        self._add(name, [tensor])

    def add_layer(self, kind: str, arguments: Mapping[str, Any], output: tf.Tensor) -> tf.Tensor:
        """Record a layer; return its output, or a copy of the output if it is an input of the layer.

        Args:
            kind: name of the layer's function.
            arguments: {name: value} of all arguments of the call.
            output: what the function returned.
        """
        if output.name in self._nodes:
            output = tf.identity(output)
        scope = "/".join(filter(None, (tf1.get_variable_scope().name, arguments.get("scope"))))
        options = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if name not in NOT_RECORDED)
        text = f"{scope or kind}: {kind}({options}) -> {_shape(output)}"
        self._nodes[output.name] = _Node(scope or kind, self._add(text, [arguments["x"]]))
        return output

    def _add(self, text: str, inputs: list[tf.Tensor]) -> str:
        """Record a line of text for a layer, an operation or an output; return its digest."""
        nodes = [self._node(tensor) for tensor in inputs]
        digest = _digest(text, *(node.digest for node in nodes))
        self._digests.add(digest)
        self.layers.append(f"{text} of {', '.join(node.name for node in nodes)}" if nodes else text)
        return digest

    def _node(self, tensor: tf.Tensor) -> _Node:
        """Return the node of a tensor; record the operations that compute it from layers and inputs."""
        operation = tensor.op
        if tensor.name not in self._nodes:
            if operation.type == "Identity":
                return self._node(operation.inputs[0])
            self._nodes[tensor.name] = _Node(tensor.op.name, "")  # ends the recursion in a loop
            self._nodes[tensor.name] = self._operation_node(tensor)
        return self._nodes[tensor.name]

    def _operation_node(self, tensor: tf.Tensor) -> _Node:
        operation = tensor.op
        if operation.type == "Const":
            value = tf.make_ndarray(operation.node_def.attr["value"].tensor)
            name = str(value) if value.size == 1 else f"{value.dtype} {list(value.shape)}"
            return _Node(name, _digest(str(value.dtype), str(value.shape), value.tobytes().hex()))
        if operation.type == "Placeholder":  # a variable
            return _Node(operation.name, _digest(operation.name, str(tensor.shape)))
        text = f"{operation.type}({_attributes(operation)})"
        text += f", output {tensor.value_index}" if tensor.value_index else ""
        return _Node(operation.name, self._add(text, list(operation.inputs)))


_active: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def record_layers(inputs: Mapping[str, tf.Tensor]) -> Iterator[Recording]:
    """Record the layers that are built in the block, in a tf.Graph that is good for nothing else.

    In this graph, each variable is a placeholder, which takes less time to build.

    Args:
        inputs: {name: tensor}, the inputs of the net.
    """
    recording = Recording(inputs)
    token = _active.set(recording)
    try:
        with tf1.variable_scope(tf1.get_variable_scope(), custom_getter=_placeholder):
            yield recording
    finally:
        _active.reset(token)


def _placeholder(getter: object, name: str, shape: list[int], dtype: tf.DType, **_: object) -> tf.Tensor:
    """Return a placeholder for the variable that get_variable would return."""
    return tf1.placeholder(dtype, shape, f"{name}/")  # the slash excludes the current scope from the name


def recorded(layer: Callable[P, R]) -> Callable[P, R]:
    """Return the function of a layer that also records its calls in a block of `record_layers`.

    Its argument x is the input of the layer. It returns the output, or a tuple that begins with the output.
    """
    signature = inspect.signature(layer)

    @functools.wraps(layer)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        recording = _active.get()
        if recording is None:
            return layer(*args, **kwargs)
        token = _active.set(None)  # a layer inside this one is not recorded
        try:
            result: Any = layer(*args, **kwargs)
        finally:
            _active.reset(token)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        output, *rest = result if isinstance(result, tuple) else (result,)
        output = recording.add_layer(layer.__name__, bound.arguments, output)
        return (output, *rest) if isinstance(result, tuple) else output  # type: ignore[return-value]

    return call


def _attributes(operation: tf.Operation) -> str:
    """Return the attributes of an operation that are not types and not defaults, as text."""
    defaults = {attribute.name: attribute.default_value for attribute in operation.op_def.attr}
    names = [
        name
        for name, value in operation.node_def.attr.items()
        if not (name.startswith("_") or value.WhichOneof("value") in ("type", "func") or value == defaults.get(name))
    ]
    return ", ".join(f"{name}={operation.get_attr(name)!r}" for name in sorted(names))


def _shape(tensor: tf.Tensor) -> str:
    """Return the shape of a tensor [N, ...] without N, as text."""
    return str(tensor.shape.as_list()[1:])


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
