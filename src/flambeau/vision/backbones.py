"""After this page you know how a network loses its head: `create_body` keeps the layers that see.

Three kinds of networks come through one door:

- timm's are asked to drop their own classifier and pooling; their last norm stays. A feature map comes out, or, where
  a network has no map (most transformers), its own pooled features.
- torchvision's transformers keep their class token and lose the classifier.
- All others are a sequence of children, cut before the last global pooling, or where `cut` says.

A body divides itself in two layer groups by the network's own stages: the last two resolutions (of a ResNet: stages 3
and 4) learn faster than all before them, whose edges and textures serve any task. A network of one resolution
divides in the middle of its blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.hooks import evaluating
from flambeau.nn.layers import Chain
from flambeau.vision.architectures import ArchitectureLike, InputStats, find_architecture

Cut = int | Callable[[nn.Module], nn.Module]
PROBE_SIZE = 128  # pixels: enough for five halvings, cheap for a trial run


class Stage(NamedTuple):
    """A module of a network, by its dotted name, and how many pixels of the picture one of its outputs stands for."""

    name: str
    reduction: float


class Body(Chain):
    """A network without its head: pictures (batch, n_in, height, width) in, features out.

    The features are a map (batch, n_features, height, width), or (batch, n_features) where `pooled`. `pretrained` tells
    whether the weights have seen pictures before. `early_names` are the parameters of the first layer group.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        name: str,
        n_features: int,
        pooled: bool,
        n_in: int,
        pretrained: bool,
        input_stats: InputStats,
        stages: Sequence[Stage],
    ) -> None:
        super().__init__(*layers)
        self.name = name
        self.n_features = n_features
        self.pooled = pooled
        self.n_in = n_in
        self.pretrained = pretrained
        self.input_stats = input_stats
        self.early_names = _early_names(self, stages)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features; raise ShapeError for another number of channels or a size the network cannot take."""
        if pictures.ndim != 4 or pictures.shape[1] != self.n_in:
            channels = pictures.shape[1] if pictures.ndim == 4 else "no"
            raise ShapeError(
                f"Expected {self.n_in} channels, got {channels} in a batch of shape {tuple(pictures.shape)} (batch, "
                "channel, height, width). For grey images pass n_in=1, for more channels their number."
            )
        if self.input_stats.fixed_size and tuple(pictures.shape[-2:]) != self.input_stats.size:
            resizable = hasattr(getattr(self[0], "model", None), "set_input_size")
            raise ShapeError(_size_message(self.name, self.input_stats.size, tuple(pictures.shape[-2:]), resizable))
        return super().forward(pictures)

    def groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters in layer groups, early layers first; each parameter is in exactly one."""
        early: list[nn.Parameter] = []
        late: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            (early if name in self.early_names else late).append(parameter)
        return [group for group in (early, late) if group]


class TimmFeatures(nn.Module):
    """A timm network without classifier and, where it has a map, without pooling; maps come out channels first."""

    def __init__(self, model: nn.Module, channels_last: bool) -> None:
        super().__init__()
        self.model = model
        self.channels_last = channels_last

    def forward(self, pictures: Tensor) -> Tensor:
        """Return a map (batch, channel, height, width) or pooled features (batch, channel)."""
        features: Tensor = self.model(pictures)
        return features.permute(0, 3, 1, 2) if self.channels_last else features


def create_body(
    arch: ArchitectureLike | nn.Module,
    n_in: int = 3,
    pretrained: bool = True,
    cut: Cut | None = None,
    weights: object = None,
    image_size: tuple[int, int] | None = None,
) -> Body:
    """Build the body of an architecture, or make one of a network that is already built (which is then used up).

    `cut` keeps that many children of the network (or all but, when negative), or is a function that makes the body.
    `weights` is a file or the name of a published set. Networks of a fixed size are rebuilt for `image_size`
    (height, width) where they can be. With `n_in` other than 3 the first convolution is adapted: one channel sees the
    sum of the three, two see the first two half as strong again, further ones begin at zero.

    Raises:
        UnknownNameError: nobody knows the architecture.
        DownloadError: its weights cannot be had.
        ShapeError: the network cannot take `image_size`, or what is left after the cut gives no features.
    """
    if weights is not None and not pretrained:
        raise ArgumentError("weights=... asks for pretrained weights and pretrained=False refuses them; drop one.")
    stats = InputStats()
    if isinstance(arch, nn.Module):
        model, name = arch, type(arch).__name__
    else:
        architecture = find_architecture(arch)
        name, stats = architecture.name, architecture.input_stats()
        if pretrained and weights is None and not architecture.has_weights:
            print(f"{name} has no pretrained weights: it starts from random ones.")
            pretrained = False
        model = architecture(pretrained=pretrained, weights=weights)
    if hasattr(model, "pretrained_cfg"):
        stats = InputStats.from_timm(model.pretrained_cfg)  # type: ignore[arg-type]
    if n_in != 3:
        _adapt_first_convolution(model, n_in, pretrained)
    if stats.fixed_size and image_size is not None and tuple(image_size) != stats.size:
        _resize_network(model, name, stats.size, image_size)
        stats = replace(stats, size=(image_size[0], image_size[1]))
    facts: dict[str, Any] = {"name": name, "n_in": n_in, "pretrained": pretrained, "input_stats": stats}
    if cut is None and hasattr(model, "reset_classifier"):
        return _timm_body(model, facts)
    if cut is None and type(model).__module__ == "torchvision.models.vision_transformer":
        return _transformer_body(model, facts)
    return _cut_body(model, cut, facts)


def _timm_body(model: Any, facts: dict[str, Any]) -> Body:
    # timm notes a pool_size for networks whose features are a map; the others pool in ways of their own
    has_map = model.pretrained_cfg.get("pool_size") is not None
    try:
        model.reset_classifier(0, *([""] if has_map else []))
    except AssertionError:  # a few insist on their pooling
        has_map = False
        model.reset_classifier(0)
    layout = getattr(model, "output_fmt", "NCHW")
    features = TimmFeatures(model, channels_last=has_map and str(getattr(layout, "value", layout)) == "NHWC")
    stages = [Stage(f"0.model.{entry['module']}", entry["reduction"]) for entry in model.feature_info]
    return Body([features], n_features=model.head_hidden_size, pooled=not has_map, stages=stages, **facts)


def _transformer_body(model: Any, facts: dict[str, Any]) -> Body:
    model.heads = nn.Identity()
    stages = [Stage(f"0.encoder.layers.{name}", model.patch_size) for name, _ in model.encoder.layers.named_children()]
    return Body([model], n_features=model.hidden_dim, pooled=True, stages=stages, **facts)


def _cut_body(model: nn.Module, cut: Cut | None, facts: dict[str, Any]) -> Body:
    if getattr(model, "aux_logits", False):
        raise ArgumentError(
            f"{facts['name']} branches into extra classifiers, so it is no sequence to cut; "
            "timm has such networks without the branches: vision_learner(dls, 'inception_v3')."
        )
    children = list(model.children())
    if callable(cut):
        part = cut(model)
        layers = list(part) if isinstance(part, nn.Sequential) else [part]
    else:
        layers = children[: find_cut(model) if cut is None else cut]
    if not layers:
        raise ArgumentError(f"cut={cut} leaves nothing of {facts['name']}, which has {len(children)} children.")
    stats: InputStats = facts["input_stats"]
    size = stats.size if stats.fixed_size else (PROBE_SIZE, PROBE_SIZE)
    try:
        stages, shape = _try_out(nn.Sequential(*layers), facts["n_in"], size)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"The children of {facts['name']} do not run one after the other ({error}). "
            "Pass cut=a function that makes the body from the network."
        ) from error
    if len(shape) not in (2, 4):
        raise ShapeError(
            f"The body of {facts['name']} gives features of shape {tuple(shape)}; expected a map (batch, channel, "
            "height, width) or (batch, channel). Pass another cut."
        )
    return Body(layers, n_features=shape[1], pooled=len(shape) == 2, stages=stages, **facts)


def find_cut(model: nn.Module) -> int:
    """Return where the head begins, counted from the end: the last child that pools whole maps, or the last at all."""
    pools = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    children = list(model.children())
    found = [index for index, child in enumerate(children) if any(isinstance(part, pools) for part in child.modules())]
    return found[-1] - len(children) if found else -1


def _try_out(body: nn.Sequential, n_in: int, size: tuple[int, int]) -> tuple[list[Stage], torch.Size]:
    """Run `body` once on a blank picture; return the reduction of each of its blocks, and the shape of the features."""
    stages: list[Stage] = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(block: nn.Module, inputs: Any, output: Any) -> None:
            # the third dimension is a side of the map whether channels come first or last
            if isinstance(output, Tensor) and output.ndim == 4 and next(block.parameters(), None) is not None:
                stages.append(Stage(name, size[0] / output.shape[2]))

        return hook

    handles = [block.register_forward_hook(note(name)) for name, block in _blocks(body)]
    like = next(body.parameters(), torch.empty(0))
    try:
        with evaluating(body):
            features = body(torch.zeros(1, n_in, *size, device=like.device, dtype=like.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return stages, features.shape


def _blocks(module: nn.Module, prefix: str = "") -> Iterable[tuple[str, nn.Module]]:
    """Yield the blocks of nested Sequentials, in order."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _blocks(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _early_names(body: nn.Module, stages: Sequence[Stage]) -> frozenset[str]:
    """Return the names of the parameters up to the last stage whose map has four times the side of the final one."""
    names = [name for name, _ in body.named_parameters()]
    boundary = _boundary(stages)
    inside = [name == boundary or name.startswith(f"{boundary}.") for name, _ in body.named_modules()]
    if True not in inside:
        return frozenset(names[: len(names) // 2])
    # depth first, modules come in the order in which they were registered, which is that of the data's way
    last = len(inside) - 1 - inside[::-1].index(True)
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, module in list(body.named_modules())[: last + 1]
        for name, _ in module.named_parameters(recurse=False)
    )


def _boundary(stages: Sequence[Stage]) -> str | None:
    names = list(dict.fromkeys(stage.name for stage in stages))
    if not names:
        return None
    early = [stage.name for stage in stages if stage.reduction <= stages[-1].reduction / 4]
    return early[-1] if early else names[max(len(names) // 2 - 1, 0)]


def _adapt_first_convolution(model: nn.Module, n_in: int, pretrained: bool) -> None:
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.in_channels == 3), None)
    if first is None or first.groups != 1:
        raise ArgumentError(f"{type(model).__name__} has no first convolution over 3 channels to adapt to n_in={n_in}.")
    weight = first.weight.detach()  # out, 3, height, width
    if n_in == 1:
        adapted = weight.sum(1, keepdim=True)
    elif n_in == 2:
        adapted = weight[:, :2] * 1.5
    else:
        adapted = torch.cat([weight, weight.new_zeros(weight.shape[0], n_in - 3, *weight.shape[2:])], dim=1)
    first.in_channels = n_in
    first.weight = nn.Parameter(adapted.contiguous())
    if not pretrained:
        first.reset_parameters()


def _resize_network(model: Any, name: str, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    if not hasattr(model, "set_input_size"):
        raise ShapeError(_size_message(name, size, wanted, resizable=False))
    try:
        with warnings.catch_warnings():
            # of how timm writes the arithmetic by which it stretches tables of positions: nothing a user can mend
            warnings.filterwarnings("ignore", r"(Using a non-tuple sequence|torch\.searchsorted\(\): input value)")
            model.set_input_size(img_size=tuple(wanted))
    except (AssertionError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{name} cannot be built for pictures of {wanted[0]}x{wanted[1]}: {error}") from error


def _size_message(name: str, size: tuple[int, int], got: tuple[int, ...], resizable: bool) -> str:
    resize = f"Resize({size[0]})" if size[0] == size[1] else f"Resize({size})"
    rebuild = f", build the network for them with image_size={got}" if resizable else ""
    return (
        f"{name} takes pictures of {size[0]}x{size[1]} (height x width) only, got {got[0]}x{got[1]}. Resize them with "
        f"{resize}{rebuild}, or choose a network that takes any size, such as a ResNet or ConvNeXt."
    )
