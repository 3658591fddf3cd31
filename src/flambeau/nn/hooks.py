"""After this page you know how to look inside a network while it runs, without changing it.

Everything that hooks in is a context manager and leaves no trace behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ShapeError
from flambeau.nn.layers import in_channels

HookFunction = Callable[[nn.Module, Any, Any], Any]


def _map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_map_tensors(function, item) for item in value]
    return value


class Hook:
    """Call `hook_func(module, inputs, outputs)` whenever `m` runs, and keep the answer in `stored`.

    With `is_forward` False the gradients are given instead, on the way back. `detach` cuts them off the graph, `cpu`
    moves them.
    """

    def __init__(
        self, m: nn.Module, hook_func: HookFunction, is_forward: bool = True, detach: bool = True, cpu: bool = False
    ) -> None:
        self.hook_func, self.detach, self.cpu = hook_func, detach, cpu
        self.stored: Any = None
        register = m.register_forward_hook if is_forward else m.register_full_backward_hook
        self._handle = register(self._call)

    def _call(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if self.detach:
            inputs, outputs = (_map_tensors(Tensor.detach, value) for value in (inputs, outputs))
        if self.cpu:
            inputs, outputs = (_map_tensors(Tensor.cpu, value) for value in (inputs, outputs))
        self.stored = self.hook_func(module, inputs, outputs)

    def remove(self) -> None:
        """Unhook; twice does no harm."""
        self._handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Hooks:
    """Hook several modules with one function."""

    def __init__(
        self,
        ms: Iterable[nn.Module],
        hook_func: HookFunction,
        is_forward: bool = True,
        detach: bool = True,
        cpu: bool = False,
    ) -> None:
        self.hooks = [Hook(m, hook_func, is_forward, detach, cpu) for m in ms]

    @property
    def stored(self) -> list[Any]:
        """What each hook kept last."""
        return [hook.stored for hook in self.hooks]

    def remove(self) -> None:
        """Unhook all."""
        for hook in self.hooks:
            hook.remove()

    def __len__(self) -> int:
        return len(self.hooks)

    def __iter__(self) -> Iterator[Hook]:
        return iter(self.hooks)

    def __getitem__(self, index: int) -> Hook:
        return self.hooks[index]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def _keep_output(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    return outputs


def _keep_first_gradient(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs


def hook_output(module: nn.Module, detach: bool = True, cpu: bool = False, grad: bool = False) -> Hook:
    """Keep the output of `module` (or with `grad` the gradient of its output) in `stored`."""
    return Hook(module, _keep_first_gradient if grad else _keep_output, not grad, detach, cpu)


def hook_outputs(modules: Iterable[nn.Module], detach: bool = True, cpu: bool = False, grad: bool = False) -> Hooks:
    """Keep the outputs of several modules (or with `grad` the gradients of their outputs) in `stored`."""
    return Hooks(modules, _keep_first_gradient if grad else _keep_output, not grad, detach, cpu)


class HookedModel:
    """Run a model and see what some layers gave: `with HookedModel(model, layers) as run: output, inner = run(x)`."""

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module], detach: bool = True) -> None:
        self.model, self._layers, self._detach = model, list(layers), detach

    def __enter__(self) -> Self:
        self._hooks = hook_outputs(self._layers, detach=self._detach)
        return self

    def __call__(self, *inputs: Any) -> tuple[Any, list[Any]]:
        output = self.model(*inputs)
        return output, self._hooks.stored

    def __exit__(self, *error: object) -> None:
        self._hooks.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every layer in evaluation mode without gradients, and give each its own mode back."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def dummy_eval(m: nn.Module, size: tuple[int, int] = (64, 64)) -> Any:
    """Return what `m` gives for one black picture of `size` (height, width)."""
    like = next(m.parameters())
    picture = torch.zeros(1, in_channels(m), *size, device=like.device, dtype=like.dtype)
    with evaluating(m):
        return m(picture)


def model_sizes(m: nn.Module, size: tuple[int, int] = (64, 64)) -> list[torch.Size]:
    """Return the output shape of each direct child of `m` for one picture of `size` (height, width)."""
    with hook_outputs(list(m.children())) as hooks:
        dummy_eval(m, size)
        return [output.shape for output in hooks.stored]


def num_features_model(m: nn.Module) -> int:
    """Return how many channels the body `m` gives, by running one small black picture through it."""
    sides = (64, 128, 224, 512)
    for side in sides:
        try:
            output = dummy_eval(m, (side, side))
        except (RuntimeError, ValueError, AssertionError):  # too small, or not the one size it takes
            if side == sides[-1]:
                raise
        else:
            break
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise ShapeError("The body of a model must give one tensor (batch, channels, ...).")
    return output.shape[1]
