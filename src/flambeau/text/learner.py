"""Learners of text: after reading it you can go from a language model to a classifier of your own documents.

    language model of any text --fine-tuned on your documents--> encoder --classifier--> your labels

That is ULMFiT (Howard and Ruder 2018): what a word means is learnt from text without labels, of which there is plenty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path as AnyPath
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.paths import Path
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.dataset import LMDatasets
from flambeau.text.generate import choose, continue_text, decode_spec_tokens, written
from flambeau.text.loaders import kept_seq_len, stream_loader
from flambeau.text.long_documents import lengths_of, tell_of_last_words
from flambeau.text.models import architecture, get_language_model, get_text_classifier
from flambeau.text.numericalize import FAKE, Numericalize
from flambeau.text.pretrained import load_encoder, load_pretrained, named_files, pretrained_files, save_encoder
from flambeau.text.rnn_callbacks import rnn_cbs
from flambeau.text.special_tokens import BOS, PAD_ID, UNK_ID
from flambeau.text.tokenizer import Tokenizer
from flambeau.train.callbacks.distributed import once
from flambeau.train.checkpoint import checkpoint_path
from flambeau.train.export import Exported
from flambeau.train.learner import Learner, Moms

MOMS: Moms = (0.8, 0.7, 0.8)


class TextLearner(Learner):
    """A learner of a recurrent network on text: it forgets the state of one pass before the next, and is regularised.

    `alpha` and `beta` weigh the activation regularisation and the temporal one (Merity 2017). The other arguments are
    those of `Learner`.
    """

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Any = None,
        alpha: float = 2.0,
        beta: float = 1.0,
        moms: Moms = MOMS,
        cbs: Any = None,
        **options: Any,
    ) -> None:
        given = [] if cbs is None else list(cbs) if isinstance(cbs, list | tuple) else [cbs]
        super().__init__(dls, model, loss_func=loss_func, moms=moms, cbs=[*rnn_cbs(alpha, beta), *given], **options)

    @property
    def text_vocab(self) -> list[str]:
        """The words of the model, in the order of their numbers."""
        return list(text_parts(self.dls)[1].vocab or ())

    def save_encoder(self, file: str | AnyPath) -> Path:
        """Keep the encoder and its words under `path/model_dir`, for a classifier's `load_encoder`.

        Raises:
            ArgumentError: the model is one of your own, in which nobody knows the encoder.
        """
        return once(self, lambda: save_encoder(self.model, checkpoint_path(self, file), self.text_vocab))

    def load_encoder(self, file: str | AnyPath, device: torch.device | str | None = None) -> TextLearner:
        """Take over the encoder that another learner saved, and freeze it; nothing in the file is executed.

        Where these loaders have other words, rows are matched by word, and a printed line tells how many were known.

        Raises:
            ExportError: there is no such file, or its encoder has another size.
        """
        if device is not None:
            self.to(device)
        load_encoder(self.model, checkpoint_path(self, file), self.text_vocab)
        self.freeze()
        return self

    def load_pretrained(self, wgts_fname: str | AnyPath, vocab_fname: str | AnyPath) -> TextLearner:
        """Take over the language model of two files (its weights and its words), word by word, and freeze it."""
        load_pretrained(self.model, wgts_fname, vocab_fname, self.text_vocab)
        self.freeze()
        return self


def _from_the_end(tokens: Sequence[str]) -> list[str]:
    """Return a document's tokens as a model that reads backwards gets them: the mark of the beginning stays first."""
    first = list(tokens[:1]) if tokens[:1] == [BOS] else []
    return [*first, *reversed(tokens[len(first) :])]


def text_parts(dls: DataLoaders) -> tuple[Tokenizer, Numericalize]:
    """Return the tokenizer and the vocabulary of loaders of text.

    Raises:
        ArgumentError: these loaders hold no words.
    """
    loader = dls[1] if len(dls) > 1 else dls[0]
    steps = [step for pipeline in getattr(loader.dataset, "pipelines", ()) for step in pipeline]
    tokenizer = next((step for step in steps if isinstance(step, Tokenizer)), None)
    num = next((step for step in steps if isinstance(step, Numericalize)), None)
    if tokenizer is None or num is None:
        raise ArgumentError(
            "These loaders hold no words with a vocabulary. Make them with TextDataLoaders or a TextBlock; for the "
            "tokens of a transformer use transformer_learner."
        )
    return tokenizer, num


class LMLearner(TextLearner):
    """A learner of a language model: `predict` writes on, or what stands before where the model reads backwards."""

    export_as: ClassVar[str | None] = "language_model"

    def predict(  # type: ignore[override]
        self,
        text: str | Sequence[str],
        n_words: int = 1,
        no_unk: bool = True,
        temperature: float = 1.0,
        min_p: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        only_last_word: bool = False,
        seed: int | None = None,
    ) -> str:
        """Return `text` with `n_words` tokens more, drawn one after the other; see `generate.choose`.

        A model that reads backwards writes them before `text`, from its first word towards the beginning, and ends
        early where it finds one; what is returned is in the order in which a person reads. `no_unk` never writes an
        unknown word; `only_last_word` reads only the last word of `text` (backwards, the first); `seed` makes the same
        text again.

        Raises:
            ArgumentError: a setting is out of its range. DataError: there is no text.
        """
        tokenizer, num = text_parts(self.dls)
        words = list(tokenizer.encodes(text))  # several texts of one document may have come
        read = num(_from_the_end(words) if num.backwards else words).tolist()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        draw = partial(choose, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, generator=generator)
        vocab = self.text_vocab
        fakes = [number for number, word in enumerate(vocab) if word == FAKE]
        forbidden = [PAD_ID, *fakes, *([UNK_ID] if no_unk else [])]
        was_training = self.model.training
        self.model.eval()
        self._reset()
        try:
            stop = num.o2i[BOS] if num.backwards else None  # before a beginning stands another document
            ids = continue_text(self._next_word, read[-1:] if only_last_word else read, n_words, draw, forbidden, stop)
        finally:
            self._reset()
            self.model.train(was_training)
        new = [vocab[number] for number in (ids[1:] if only_last_word else ids[len(read) :])]
        tokens = [*reversed(new), *words] if num.backwards else [*words, *new]
        return written(decode_spec_tokens(tokens), tokenizer.joiner)

    def export_tensors(self) -> dict[str, Tensor]:
        return kept_seq_len(self.dls.loaders[-1])

    def _reset(self) -> None:
        if hasattr(self.model, "reset"):
            self.model.reset()  # type: ignore[operator]

    def _next_word(self, ids: Tensor) -> Tensor:
        found = self.model(ids.to(self.device))
        logits: Tensor = found[0] if isinstance(found, tuple) else found
        return logits[0, -1]

    @classmethod
    def from_export(cls, exported: Exported, path: AnyPath) -> LMLearner:
        """Return the learner of an export: it writes, and can be validated on new text."""
        if not isinstance(exported.loader.dataset, LMDatasets):
            raise ExportError("The export says that it is of a language model, but holds none.")
        loader = stream_loader(exported.loader, exported.extra)
        dls = DataLoaders(loader.new(training=True), loader, path=AnyPath(path).parent, n_inp=1)
        return cls(dls, exported.model, loss_func=exported.loss_func, metrics=exported.metrics)


def language_model_learner(
    dls: DataLoaders,
    arch: Any,
    config: Mapping[str, Any] | None = None,
    drop_mult: float = 1.0,
    backwards: bool = False,
    pretrained: bool = True,
    pretrained_fnames: Sequence[str | AnyPath] | None = None,
    loss_func: Any = None,
    **options: Any,
) -> LMLearner:
    """Return a learner that predicts the next word.

    `config` holds the network's settings (None: `awd_lstm_lm_config`), `drop_mult` multiplies its dropouts.
    `pretrained` begins with a language model of Wikipedia, published by fast.ai; `pretrained_fnames` with one of yours:
    two files, the weights and the words. What was pretrained is frozen. `options` are those of `TextLearner`.

    Raises:
        DownloadError: the published model cannot be fetched; ArgumentError: the loaders hold no language model's text.
    """
    _, num = text_parts(dls)
    if not isinstance(getattr(dls.train, "dataset", None), LMDatasets):
        raise ArgumentError(
            "A language model needs loaders whose target is the next word: make them with is_lm=True. For text with "
            "labels use text_classifier_learner."
        )
    vocab = list(num.vocab or ())
    model = get_language_model(arch, len(vocab), config, drop_mult)
    learn = LMLearner(
        dls, model, loss_func=CrossEntropyLossFlat() if loss_func is None else loss_func,
        splitter=architecture(arch).split_lm, **options,
    )  # fmt: skip
    _begin_with(learn, arch, pretrained, pretrained_fnames, num.backwards or backwards)
    return learn


def text_classifier_learner(
    dls: DataLoaders,
    arch: Any,
    seq_len: int = 72,
    config: Mapping[str, Any] | None = None,
    backwards: bool = False,
    pretrained: bool = True,
    drop_mult: float = 0.5,
    n_out: int | None = None,
    lin_ftrs: Sequence[int] | None = None,
    ps: Sequence[float] | None = None,
    max_len: int | None = 72 * 20,
    y_range: tuple[float, float] | None = None,
    pretrained_fnames: Sequence[str | AnyPath] | None = None,
    **options: Any,
) -> TextLearner:
    """Return a learner of documents' labels (classes, many labels, or numbers).

    A document is read in windows of `seq_len` words; its last `max_len` words count. `lin_ftrs` and `ps` are the widths
    and dropouts of the head. `pretrained` begins as in `language_model_learner`; with an encoder of your own, which
    `load_encoder` takes over, `pretrained=False` spares a download. `options` are those of `TextLearner`.

    Raises:
        DownloadError: the published model cannot be fetched; ArgumentError: the loaders hold no text with labels.
    """
    _, num = text_parts(dls)
    if isinstance(getattr(dls.train, "dataset", None), LMDatasets):
        raise ArgumentError("These loaders are a language model's, without labels: use language_model_learner.")
    n_out = dls.c if n_out is None else n_out
    vocab = list(num.vocab or ())
    model = get_text_classifier(
        arch, len(vocab), n_out, seq_len, config, drop_mult, lin_ftrs, ps, PAD_ID, max_len, y_range
    )
    tell_of_last_words(lengths_of(dls), max_len)
    learn = TextLearner(dls, model, splitter=architecture(arch).split_clas, **options)
    _begin_with(learn, arch, pretrained, pretrained_fnames, num.backwards or backwards)
    return learn


def _begin_with(
    learn: TextLearner, arch: Any, pretrained: bool, fnames: Sequence[str | AnyPath] | None, backwards: bool
) -> None:
    """Give a new learner the pretrained language model that was asked for."""
    if fnames is not None:
        learn.load_pretrained(*named_files(fnames, learn.path / learn.model_dir))
    elif pretrained:
        learn.load_pretrained(*pretrained_files(arch, backwards))
