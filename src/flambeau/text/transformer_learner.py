"""The learner of a transformer: after reading it you know how a name and loaders become a fine-tuned model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path as AnyPath
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, Kind, MultiCategory, Number
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.lists import L
from flambeau.foundation.paths import Path
from flambeau.foundation.seeds import no_random
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.nn.optimizers import Adam
from flambeau.text.dataset import LMDatasets, TextDatasets
from flambeau.text.documents import Ints
from flambeau.text.loaders import kept_seq_len, stream_loader
from flambeau.text.long_documents import lengths_of, tell_of_windows
from flambeau.text.masking import MaskedTokenLoss, MaskTokens
from flambeau.text.token_tags import TagsOfTokens
from flambeau.text.transformer_answers import fill_masks, tag_of_words, write_on
from flambeau.text.transformer_files import import_transformers, quiet_transformers
from flambeau.text.transformer_models import (
    LANGUAGE,
    OF_TOKENS,
    TransformerModel,
    scale_in_head,
    transformer_splitter,
)
from flambeau.text.transformer_pretrained import create_transformer
from flambeau.text.transformer_tokenizer import Subwords, TransformerTokenizer
from flambeau.train.callbacks.distributed import once
from flambeau.train.checkpoint import SUFFIX, make_folder_of, read_tensors, write_tensors
from flambeau.train.export import Exported
from flambeau.train.learner import Learner, Moms

ENCODER = "flambeau-transformer-encoder"
# found on 800 phrases of SST-2 with MiniLM (384 wide), two epochs: see benchmarks/transformers_step.py
USUAL_RATE, USUAL_WIDTH = 2e-4, 384
SLOWEST = 6.0  # the embeddings hold the most general features, and learn at a sixth of the head's rate
HEAD_ALONE = 5.0  # a new head, while all else is frozen, bears this many times its later rate
BY_TASK: dict[str, Callable[..., Any]] = {
    "causal_lm": write_on,
    "masked_lm": fill_masks,
    "token classification": tag_of_words,
}


def TransformerAdam(
    params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    lr: float,
    mom: float = 0.9,
    sqr_mom: float = 0.999,
    eps: float = 1e-8,
    wd: float = 0.01,
) -> Optimizer:
    """Make AdamW as transformers are pretrained and fine-tuned with it (Devlin 2019)."""
    return Adam(params, lr, mom, sqr_mom, eps, wd)


class TransformerLearner(Learner):
    """A learner whose model is a `TransformerModel`; see `transformer_learner`."""

    export_as: ClassVar[str | None] = "transformer"

    @property
    def transformer(self) -> TransformerModel:
        """The model.

        Raises:
            ArgumentError: another model was put in its place.
        """
        if not isinstance(self.model, TransformerModel):
            raise ArgumentError(f"The learner's model is a {type(self.model).__name__}, no TransformerModel.")
        return self.model

    @property
    def tokenizer(self) -> TransformerTokenizer:
        """The tokenizer of the documents."""
        return tokenizer_of(self.dls)

    def predict(self, item: Any, *args: Any, **settings: Any) -> Any:
        """Return the answer for one text, as its task has it.

        A causal language model writes on: `predict(text, n_words, temperature=...)`, see `write_on`. A masked one fills
        in the masks of a text, see `fill_masks`; of token classification there is a tag a word, see `tag_of_words`.
        Any other gives (decoded answer, its tensor, activated prediction), see `Learner.predict`.

        Raises:
            ArgumentError: a pair was expected, and one text came, or the other way round.
        """
        model = self.transformer
        if model.task in BY_TASK:
            return BY_TASK[model.task](self, item, *args, **settings)
        if model.separator is not None and isinstance(item, str):
            raise ArgumentError(
                f"This model reads pairs of texts, and one came: {item!r:.80}. Give both: learn.predict((one, other))."
            )
        several = isinstance(item, tuple | list | L) and len(item) > 1
        if several and model.separator is None and self.tokenizer.ids["sep"] is not None:
            raise ArgumentError(
                f"This model reads one text an item, and {len(item)} came: {item!r:.80}. Of a list of texts "
                "learn.get_preds(dl=learn.dls.test_dl(texts)) answers each."
            )
        return super().predict(item, *args, **settings)

    def fine_tune(
        self,
        epochs: int,
        base_lr: float | None = None,
        freeze_epochs: int = 1,
        lr_mult: float = SLOWEST,
        pct_start: float = 0.25,
        div: float = 25.0,
        **options: Any,
    ) -> None:
        """Adapt a pretrained model: first the new head, then all layers, the early ones most gently.

        A head that starts from chance would first pull the layers beneath it astray (Kumar 2022). Norms learn beside
        it, unless `train_bn` is False. `base_lr` is the head's rate when all layers learn (None: see `usual_rate`); the
        embeddings learn at `base_lr / lr_mult`.
        `options` go to both `fit_one_cycle` calls.

        Raises:
            ArgumentError: `base_lr` is no number above 0.
        """
        rate = usual_rate(self.transformer) if base_lr is None else base_lr
        if not isinstance(rate, int | float) or rate <= 0:
            raise ArgumentError(f"fine_tune needs one learning rate above 0, got {base_lr!r}.")
        if freeze_epochs:
            self.freeze()
            self.fit_one_cycle(freeze_epochs, slice(rate * HEAD_ALONE), pct_start=0.99, **options)
        self.unfreeze()
        self.fit_one_cycle(epochs, slice(rate / lr_mult, rate), pct_start=pct_start, div=div, **options)

    def save_encoder(self, file: str | AnyPath) -> Path:
        """Keep the network without its head under `path/model_dir`, for a learner of another task; return the file."""
        header = {"format": ENCODER, "model_type": self.transformer.settings["config"]["model_type"]}
        weights, path = self.transformer.body.state_dict(), self._encoder_path(file)
        return once(self, lambda: write_tensors(path, weights, header))

    def load_encoder(self, file: str | AnyPath) -> TransformerLearner:
        """Take the network without its head from a file that `save_encoder` wrote; the head stays as it is.

        Raises:
            ExportError: there is no such file, it is damaged, or it holds the layers of another network.
        """
        path = self._encoder_path(file)
        kept, _ = read_tensors(path, ENCODER)
        own = self.transformer.body.state_dict()
        differing = [name for name in own if name in kept and kept[name].shape != own[name].shape]
        missing, spare = [name for name in own if name not in kept], [name for name in kept if name not in own]
        # a pooler stands between the layers and a head; language models have none
        if differing or [name for name in missing + spare if not name.startswith("pooler.")]:
            example = [*differing, *missing, *spare][0]
            raise ExportError(
                f"The encoder in {path} does not fit {type(self.transformer.net).__name__}: of {len(own)} weights "
                f"{len(differing)} have another shape, {len(missing)} are missing, and {len(spare)} are left over, "
                f"such as {example}. Save it from a learner of the same model."
            )
        fitting = {name: value for name, value in kept.items() if name in own}
        self.transformer.body.load_state_dict(fitting, strict=False)
        left = f"; {len(missing)} not in it (the pooler) stay as they are" if missing else ""
        print(f"{len(fitting)} weights of the encoder from {path.name}{left}.")
        return self

    def save_pretrained(self, folder: str | AnyPath) -> Path:
        """Write the model and its tokenizer as a folder that transformers' Auto classes load; return it.

        Of "similarity" that is the network alone, whose tokens' vectors are to be averaged and compared.
        """
        path = Path(folder)
        path = path if path.is_absolute() else self.path / path
        return once(self, lambda: self._write_folder(path))

    def export_tensors(self) -> dict[str, Tensor]:
        return kept_seq_len(self.dls.loaders[-1])

    def _write_folder(self, path: Path) -> Path:
        transformers = import_transformers("Writing a transformer")
        net, tokenizer = self.transformer.net, self.tokenizer
        names = _class_names(self.dls)
        if names and len(names) == net.config.num_labels:
            net.config.id2label = dict(enumerate(names))
            net.config.label2id = {name: number for number, name in enumerate(names)}
        with quiet_transformers(), scale_in_head(self.transformer):
            net.save_pretrained(path)
        markers = {
            f"{role}_token": tokenizer.backend.id_to_token(n) for role, n in tokenizer.ids.items() if n is not None
        }
        length = {} if tokenizer.max_len is None else {"model_max_length": tokenizer.max_len}
        written = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend, **markers, **length)
        written.save_pretrained(path)
        return path

    def _encoder_path(self, file: str | AnyPath) -> Path:
        path = Path(file)
        path = path if path.is_absolute() else self.path / self.model_dir / path
        return make_folder_of(path if path.suffix else path.with_name(path.name + SUFFIX))

    @classmethod
    def from_export(cls, exported: Exported, path: AnyPath) -> TransformerLearner:
        """Return the learner of an export, which has no documents to train on.

        Raises:
            ExportError: the export holds another model.
        """
        if not isinstance(exported.model, TransformerModel):
            raise ExportError(
                f"The export says that it is of a transformer, but holds a {type(exported.model).__name__}."
            )
        loader = exported.loader
        if isinstance(loader.dataset, LMDatasets):
            loader = stream_loader(loader, exported.extra)
        dls = DataLoaders(loader.new(training=True), loader, path=AnyPath(path).parent, n_inp=exported.n_inp)
        return cls(dls, exported.model, loss_func=exported.loss_func, metrics=exported.metrics)


def transformer_learner(
    dls: DataLoaders,
    name_or_folder: str | AnyPath,
    task: str | None = None,
    n_out: int | None = None,
    *,
    tokenizer: TransformerTokenizer | None = None,
    pairs: bool | None = None,
    window: int | None = None,
    long: str = "windows",
    dropout: float | None = None,
    loss_func: Any = None,
    opt_func: Callable[..., Optimizer] = TransformerAdam,
    lr: float | slice | None = None,
    splitter: Callable[[nn.Module], Sequence[Any]] = transformer_splitter,
    cbs: Any = None,
    metrics: Any = None,
    path: str | AnyPath | None = None,
    model_dir: str | AnyPath = "models",
    wd: float | None = None,
    wd_bn_bias: bool = False,
    train_bn: bool = True,
    moms: Moms = (0.9, 0.9, 0.9),
    seed: int | None = None,
) -> TransformerLearner:
    """Return a learner of documents with a pretrained transformer: a name of the hub, a folder, or "minilm".

    `task` None is told by the targets: classes or labels, numbers, or the tokens that follow ("causal_lm"). With
    "masked_lm" the model learns from documents without labels: see masking.py. With "similarity" the two texts of a
    pair are read apart and compared, which suits models of sentences ("minilm") and needs few pairs; "regression" reads
    them together, and may answer with any number about both. See `create_transformer` for the rest.
    `pairs` None is told by the markers of a batch. `lr` None is that of `usual_rate` for the head, a sixth for the
    embeddings, and in between for the layers. `seed` makes the new head repeatable.

    Raises:
        ArgumentError: the loaders give no ids of a transformer's tokenizer, the task cannot be told, or it is another
            than their targets are for.
        DownloadError: the hub cannot be asked; the message names the choices.
    """
    tokenizer = tokenizer if tokenizer is not None else tokenizer_of(dls)
    kinds = dls.kinds[dls.n_inp :]
    if task is None:
        task = task_of(dls)
    if task == "masked_lm":
        dls = masked_loaders(dls, tokenizer)
    elif task == "causal_lm" and kinds and isinstance(kinds[0], Category | MultiCategory | Number | TagsOfTokens):
        raise ArgumentError(
            "A model that writes learns from the tokens that follow, but these loaders give labels as targets. Make "
            "loaders of the same texts with is_lm=True."
        )
    if n_out is None:
        n_out = 0 if task in LANGUAGE else dls.c
    if loss_func is None and task in OF_TOKENS:  # tokens that are not asked for have the target -100
        loss_func = MaskedTokenLoss() if task == "masked_lm" else CrossEntropyLossFlat()
    if pairs is None:
        pairs = task not in LANGUAGE and holds_pairs(dls.one_batch().inputs[0], tokenizer)
    with nullcontext() if seed is None else no_random(seed):
        model = create_transformer(
            name_or_folder, task, n_out, tokenizer, pairs=pairs, window=window, long=long, dropout=dropout,
            targets=_numbers_of(dls) if task in ("regression", "similarity") else None,
        )  # fmt: skip
    if lr is None:
        rate = usual_rate(model)
        lr = slice(rate / SLOWEST, rate)
    learn = TransformerLearner(
        dls, model, loss_func=loss_func, opt_func=opt_func, lr=lr, splitter=splitter, cbs=cbs, metrics=metrics,
        path=path, model_dir=model_dir, wd=wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn, moms=moms,
    )  # fmt: skip
    if task == "similarity":
        tell_of_windows(_lengths_apart(dls, model), model.window - len(model.before) - len(model.after), long)
    elif task != "causal_lm":
        tell_of_windows(lengths_of(dls), model.window, long)
    print(_summary_line(learn, kinds))
    return learn


def usual_rate(model: TransformerModel) -> float:
    """Return a learning rate for fine-tuning: 2e-4 for a network 384 wide, less for wider ones.

    What a step of Adam changes in a layer's answers grows with the layer's width (Yang 2022, Tensor Programs V).
    """
    width = int(model.net.get_input_embeddings().embedding_dim)
    return USUAL_RATE * USUAL_WIDTH / max(width, USUAL_WIDTH)


def holds_pairs(x: Tensor, tokenizer: TransformerTokenizer) -> bool:
    """Return whether most documents of a batch (batch, time) have more markers between texts than a single text has."""
    separator = tokenizer.ids["sep"]
    if separator is None or not isinstance(x, Tensor) or x.ndim != 2:
        return False
    of_one = sum(side.count(separator) for side in tokenizer.edges)
    return bool(x.eq(separator).sum(1).median() > of_one)


def tokenizer_of(dls: DataLoaders) -> TransformerTokenizer:
    """Return the tokenizer that made the ids of loaders.

    Raises:
        ArgumentError: there is none.
    """
    for kind in dls.kinds:
        if isinstance(kind, Subwords) and kind.tokenizer is not None:
            return kind.tokenizer
    for pipeline in getattr(getattr(dls.loaders[0], "dataset", None), "pipelines", ()):
        for transform in pipeline:
            if isinstance(transform, TransformerTokenizer):
                return transform
    raise ArgumentError(
        "The loaders give no ids of a transformer's tokenizer. Make them with "
        "TransformerTokenizer.from_pretrained(name), or pass the one that made them: "
        "transformer_learner(..., tokenizer=...)."
    )


def masked_loaders(dls: DataLoaders, tokenizer: TransformerTokenizer) -> DataLoaders:
    """Return loaders like these whose batches ask for masked tokens; those that do so already are returned as they are.

    The loaders that were given stay as they are, for a classifier of the same documents. Plain iterables have to bring
    what `MaskTokens.mask` gives: (ids, asked, targets).

    Raises:
        ArgumentError: the tokenizer has no mask.
    """
    if _masks(dls) or not all(isinstance(loader, DataLoader) for loader in dls.loaders):
        return dls
    masking = MaskTokens.of(tokenizer)
    loaders = [loader.new(after_batch=[*loader.after_batch, masking]) for loader in dls.loaders]
    return DataLoaders(*loaders, path=dls.path, device=dls.device, n_inp=dls.n_inp)


def _masks(dls: DataLoaders) -> bool:
    return any(isinstance(tfm, MaskTokens) for tfm in getattr(dls.loaders[0], "after_batch", ()))


def task_of(dls: DataLoaders) -> str:
    """Return the task that loaders ask for, by their targets.

    Raises:
        ArgumentError: their kind tells none.
    """
    if _masks(dls):
        return "masked_lm"
    kinds = dls.kinds[dls.n_inp :]
    kind = kinds[0] if len(kinds) == 1 else None
    if isinstance(kind, Category | MultiCategory):
        return "classification"
    if isinstance(kind, TagsOfTokens):
        return "token classification"
    if isinstance(kind, Number):
        return "regression"
    if isinstance(kind, Subwords):
        return "causal_lm"
    raise ArgumentError(
        f"The task cannot be told from targets of kind {', '.join(type(k).__name__ for k in kinds) or 'none'}. Pass "
        "task='classification', 'regression', 'similarity', 'token classification', 'masked_lm' or 'causal_lm', and "
        "n_out."
    )


def _numbers_of(dls: DataLoaders) -> Tensor | None:
    """Return the numbers (n,) or (n, n_out) of the training documents, None where the loaders do not hold them."""
    dataset = getattr(dls.train, "dataset", None)
    if not isinstance(dataset, TextDatasets) or len(dls.kinds) != dls.n_inp + 1:
        return None
    return dataset.numbers(dls.n_inp)


def _lengths_apart(dls: DataLoaders, model: TransformerModel) -> Ints | None:
    """Return the number of tokens of the longer text of each pair, its markers not counted."""
    dataset = getattr(dls.train, "dataset", None)
    if not isinstance(dataset, TextDatasets) or model.separator is None:
        return None
    return dataset.longest_texts(model.separator, len(model.before))


def _class_names(dls: DataLoaders) -> list[str]:
    kinds = dls.kinds[dls.n_inp :]
    return [str(name) for name in getattr(kinds[0], "vocab", ())] if len(kinds) == 1 else []


def _summary_line(learn: TransformerLearner, kinds: Sequence[Kind]) -> str:
    model, n_out = learn.transformer, learn.transformer.settings["n_out"]
    what = f"{n_out} number{'s' * (n_out != 1)}"
    if model.task == "token classification":
        what = f"{n_out} tags"
    elif model.task in LANGUAGE:  # loaders of classes may have been given, whose texts it learns from
        what = f"{n_out:,} tokens"
    elif kinds and isinstance(kinds[0], Category):
        what = f"{n_out} classes"
    elif kinds and isinstance(kinds[0], MultiCategory):
        what = f"{n_out} labels, any number of them"
    loss = getattr(learn.loss_func, "__name__", type(learn.loss_func).__name__)
    return f"{model.task}: {what}, {loss}, windows of {model.window} ids, on {learn.device}"
