"""After this page you know the network that `vision_learner` trains: a body that sees and a head that decides.

    pictures ─ model[0], the body (create_body) ─ features ─ model[1], the head (create_head) ─ (batch, n_out)

Its layer groups, early body, late body and head, are what freezing and discriminative learning rates act on. Its
`settings` are all that an export needs to build it again, without any download; the weights come beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.describe import NotDescribable, build_module, describe_module
from flambeau.nn.hooks import evaluating
from flambeau.nn.init import apply_init
from flambeau.nn.layers import Chain
from flambeau.nn.param_groups import params
from flambeau.vision.architectures import Architecture, ArchitectureLike, find_architecture
from flambeau.vision.backbones import Body, Cut, create_body, find_cut
from flambeau.vision.heads import create_head
from flambeau.vision.xresnet import build_xresnet


class VisionModel(Chain):
    """A body and a head: pictures (batch, n_in, height, width) in, (batch, n_out) numbers out.

    `settings` is the JSON-able recipe for `build_vision_model`; None where the network has parts that only the caller's
    own code can build (a function as architecture or cut, a custom head).
    """

    settings: dict[str, Any] | None = None
    foreign: str = ""
    """Why there are no settings: which part is code of the caller's own."""

    @property
    def body(self) -> Body:
        """The layers that turn pictures into features."""
        return cast("Body", self[0])

    @property
    def head(self) -> nn.Module:
        """The layers that turn features into numbers."""
        return self[1]

    @property
    def pretrained(self) -> bool:
        """Whether the body's weights have seen pictures before, so that freezing it at first makes sense."""
        return self.body.pretrained


def create_vision_model(
    arch: ArchitectureLike,
    n_out: int,
    n_in: int = 3,
    pretrained: bool = True,
    weights: object = None,
    cut: Cut | None = None,
    image_size: tuple[int, int] | None = None,
    custom_head: nn.Module | None = None,
    init: Callable[[Tensor], Any] | None = nn.init.kaiming_normal_,
    lin_ftrs: Sequence[int] | None = None,
    ps: float | Sequence[float] = 0.5,
    pool: bool = True,
    concat_pool: bool = True,
    first_bn: bool = True,
    bn_final: bool = False,
    lin_first: bool = False,
    y_range: tuple[float, float] | None = None,
) -> VisionModel:
    """Build a network that gives `n_out` numbers a picture, with the body of `arch` and a new head.

    See `create_body` for the arguments up to `image_size`, and `create_head` for those from `lin_ftrs` on. `init` fills
    the weights of the head (norm layers apart); None leaves torch's own.
    """
    body = create_body(arch, n_in=n_in, pretrained=pretrained, cut=cut, weights=weights, image_size=image_size)
    head_settings: dict[str, Any] = {
        "lin_ftrs": None if lin_ftrs is None else [int(width) for width in lin_ftrs],
        "ps": float(ps) if isinstance(ps, (int, float)) else [float(p) for p in ps],
        "pool": pool,
        "concat_pool": concat_pool,
        "first_bn": first_bn,
        "bn_final": bn_final,
        "lin_first": lin_first,
        "y_range": None if y_range is None else [float(y_range[0]), float(y_range[1])],
    }
    head = custom_head
    if head is None:
        head = create_head(body.n_features, n_out, **{**head_settings, "pool": pool and not body.pooled})
    if init is not None:
        apply_init(head, init)
    model = VisionModel(body, head)
    architecture = find_architecture(arch)
    described = None if custom_head is None else describe_module(custom_head)
    if callable(cut) or architecture.source == "function":
        model.foreign = "its body is cut or made by a function of your own"
    elif not architecture.is_listed:
        model.foreign = f"its architecture {architecture.name!r} is not among those that {architecture.source} lists"
    elif isinstance(described, NotDescribable):
        model.foreign = f"of the custom head, {described}"
    else:
        model.settings = {
            "model": "vision",
            "architecture": {"source": architecture.source, "name": architecture.name},
            "n_out": n_out,
            "n_in": n_in,
            "cut": cut,
            "image_size": None if image_size is None else [int(side) for side in image_size],
            "head": head_settings,
            "custom_head": described,
        }
    return model


def require_fitting_head(model: VisionModel, image_size: tuple[int, int]) -> None:
    """Run one blank picture through a model, to learn before any training whether its head takes the body's features.

    Neither the statistics of norm layers nor the stream of chance are changed.

    Raises:
        ShapeError: it does not; with the layer that expected another number of features.
    """
    reached: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(layer: nn.Module, inputs: Any) -> None:
            reached.extend((name, layer, tuple(given.shape)) for given in inputs[:1] if isinstance(given, Tensor))

        return hook

    leaves = [(name, layer) for name, layer in model.head.named_modules() if next(layer.children(), None) is None]
    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in leaves]
    like = next(model.body.parameters(), torch.empty(0))
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]):
            features = model.body(like.new_zeros(1, model.body.n_in, *image_size))
            model.head(features)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if not reached:
            raise
        name, layer, shape = reached[-1]
        form = "pooled" if model.body.pooled else "as a map (batch, features, height, width)"
        place = f"its layer {name!r}, {layer}," if name else str(layer)
        raise ShapeError(
            f"The custom head does not fit the body of {model.body.name}, which gives {model.body.n_features} features "
            f"{form}, {tuple(features.shape)} for one picture of {image_size[0]}x{image_size[1]}: {place} got a tensor "
            f"of shape {shape}. Let each layer take what comes before it; AdaptiveConcatPool2d doubles the features. "
            f"(In torch's words: {error})"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


class ModelMeta:
    """Look up where an architecture is cut, how it is divided and what its pictures were: `model_meta[resnet50]`."""

    def __getitem__(self, arch: ArchitectureLike) -> dict[str, Any]:
        """Return "cut", "split" and "stats" (mean and std), read off the network itself."""
        architecture = find_architecture(arch)
        stats = architecture.input_stats()
        return {"cut": find_cut(architecture()), "split": vision_splitter, "stats": (stats.mean, stats.std)}


model_meta = ModelMeta()


def vision_splitter(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the layer groups of a VisionModel: early body, late body, head."""
    if not isinstance(model, VisionModel):
        raise ArgumentError(
            f"vision_splitter divides what create_vision_model built, got a {type(model).__name__}; "
            "pass a splitter of your own, which returns lists of parameters."
        )
    return [*model.body.groups(), params(model.head)]


def build_vision_model(settings: Mapping[str, Any]) -> nn.Module:
    """Build again, with random weights and without any download, the network that `settings` describe.

    Raises:
        ArgumentError: the settings describe something else, or name an architecture that its library does not list.
    """
    if settings["model"] == "xresnet":
        return build_xresnet(settings)
    known = settings["architecture"]
    if settings["model"] != "vision" or known["source"] not in ("torchvision", "timm", "flambeau"):
        raise ArgumentError(f"These settings describe no vision model: {dict(settings)}.")
    architecture = Architecture(str(known["name"]), known["source"])
    # a name that is an address would be fetched, or read from a folder of this machine
    if not architecture.is_listed:
        raise ArgumentError(
            f"{architecture.name!r} is no architecture that {architecture.source} lists under this name here, so "
            "nothing was built or fetched. Where a newer version lists it, upgrade."
        )
    return create_vision_model(
        architecture,
        n_out=settings["n_out"],
        n_in=settings["n_in"],
        pretrained=False,
        cut=settings["cut"],
        image_size=None if settings["image_size"] is None else tuple(settings["image_size"]),
        custom_head=None if settings["custom_head"] is None else build_module(settings["custom_head"]),
        **settings["head"],
    )
