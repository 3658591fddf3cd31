"""What a transformer says of one text: after reading it you know how it writes on, fills in, and tags word by word."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.dataset import is_row, without_getters
from flambeau.foundation.errors import ArgumentError
from flambeau.text.dataset import text_steps
from flambeau.text.generate import choose, continue_text
from flambeau.text.token_tags import NO_TAG, NOT_ASKED, TagsOfTokens, first_tokens, words_of
from flambeau.text.tokenizer import as_texts
from flambeau.train.inference import predict_batch

if TYPE_CHECKING:
    from flambeau.text.transformer_learner import TransformerLearner
    from flambeau.text.transformer_models import TransformerModel

SAME = 0.01  # of the largest number: by so much those of a model that remembers may differ from those of one that reads
WORDS_AT_ONCE = 4000  # of a text that is tagged: some windows beside each other


def write_on(
    learn: TransformerLearner,
    text: str,
    n_words: int = 1,
    temperature: float = 1.0,
    min_p: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> str:
    """Return `text` with up to `n_words` tokens more, drawn one after the other; see `generate.choose`.

    It ends early where the model says that the text ends. The model reads as much of the end of what is written as its
    window holds. `seed` makes the same text again.

    Raises:
        ArgumentError: a setting is out of its range, or there are two texts.
    """
    tokenizer, model = learn.tokenizer, learn.transformer
    texts = _texts(learn, text)
    if len(texts) != 1:
        raise ArgumentError(f"A model writes on at one text, and {len(texts)} came: {texts!r:.80}.")
    text = texts[0]
    read = tokenizer(text).tolist()
    after = tokenizer.edges[1]  # the mark of an end is no beginning of what follows
    read = read[: len(read) - len(after)] if after and read[-len(after) :] == after else read
    end = tokenizer.ids["eos"]
    start = next((n for n in (tokenizer.ids["bos"], end, tokenizer.pad_id) if n is not None), 0)
    read = read or [start]
    n_known = tokenizer.vocab_size
    markers = [number for number in tokenizer.marker_ids if number != end]
    beyond = range(n_known, int(model.settings["n_out"]))  # rows of the model that stand for no token
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    draw = partial(choose, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, generator=generator)
    was_training = model.training
    model.eval()
    try:
        written = continue_text(_NextToken(model, learn.device), read, n_words, draw, [*markers, *beyond], stop=end)
    finally:
        model.train(was_training)
    begun, whole = tokenizer.decodes(read), tokenizer.decodes(written)
    return text + whole[len(begun) :] if whole.startswith(begun) else whole


class _NextToken:
    """Gives a model's numbers (vocabulary,) of the token after all that were seen, from the ids not yet read (1, time).

    What an architecture remembers is used where it can: it may fail at that, or come to other numbers than by reading
    all again, which the first use shows.
    """

    def __init__(self, model: TransformerModel, device: torch.device) -> None:
        self.model, self.device = model, device
        self.seen: list[int] = []
        self.past: Any = None

    @torch.no_grad()
    def __call__(self, unread: Tensor) -> Tensor:
        self.seen.extend(unread[0].tolist())
        reach = torch.tensor([self.seen[-self.model.window :]], device=self.device)
        # of a window that moves on, nothing stays as it was
        if self.past is None or len(self.seen) > self.model.window:
            self.past, unread = None, reach
        if self.model.remembers is False:
            return self._read(reach)
        recalls = self.past is not None
        try:
            found, self.past = self.model.next_token(unread.to(self.device), self.past)
        except Exception:  # architectures raise whatever they like
            self.model.remembers, self.past = False, None
            return self._read(reach)
        if recalls and self.model.remembers is None:
            right = self._read(reach)
            self.model.remembers = bool((found - right).abs().max() <= SAME * right.abs().max())
            return right
        return found

    def _read(self, ids: Tensor) -> Tensor:
        numbers: Tensor = self.model(ids)[0, -1]
        return numbers


def fill_masks(learn: TransformerLearner, text: str | tuple[str, str]) -> tuple[str, Tensor, Tensor]:
    """Return a text whose masks are filled in, the tokens that fill them (masks,), and chances (masks, vocabulary).

    Raises:
        ArgumentError: the text holds no mask.
    """
    tokenizer, texts = learn.tokenizer, _texts(learn, text)
    ids: Tensor = tokenizer(texts if len(texts) > 1 else texts[0])
    mask = tokenizer.ids["mask"]
    places = ids.eq(-1 if mask is None else mask)
    if not places.any():
        name = "a mask" if mask is None else tokenizer.tokens([mask])[0]
        raise ArgumentError(
            f"This model fills in what {name} stands for, and there is none in {text!r:.80}. Write it in place of a "
            f"word: learn.predict('The film was {name}.')."
        )
    chances = predict_batch(learn, Batch((ids[None].to(learn.device), places[None].to(learn.device))))
    found = chances.argmax(-1)
    return tokenizer.decodes(ids.masked_scatter(places, found)), found, chances


def tag_of_words(learn: TransformerLearner, text: Any) -> tuple[list[Any], Tensor, Tensor]:
    """Return a tag for each word of a text, its number (words,), and the chances (words, tags).

    A word of which the tokenizer leaves nothing, such as a lone control character, has no tag: None, -100, and NaN.
    """
    words, encoder = words_of(_value(learn, text)), learn.tokenizer
    kind = learn.dls.kinds[learn.dls.n_inp]
    assert isinstance(kind, TagsOfTokens)
    vocab = kind.vocab
    chances = torch.full((len(words), len(vocab)), torch.nan)
    for start in range(0, len(words), WORDS_AT_ONCE):
        ids, word_of = encoder.encode_words(words[start : start + WORDS_AT_ONCE])
        answered = predict_batch(learn, Batch((torch.tensor([ids], device=learn.device),)))[0]
        for place, word in first_tokens(word_of):
            chances[start + word] = answered[place]
    unread = chances.isnan().any(1)
    numbers = chances.nan_to_num(-1).argmax(1).masked_fill(unread, NOT_ASKED)
    return [NO_TAG if n == NOT_ASKED else vocab[n] for n in numbers.tolist()], numbers, chances


def _value(learn: TransformerLearner, item: Any) -> Any:
    """Return what the tokenizer gets of an item: a row of a table is read as in training, a text is one already."""
    pipeline = learn.dls.loaders[-1].dataset.pipelines[0]
    found = text_steps(pipeline if is_row(item) or isinstance(item, dict) else without_getters(pipeline))
    assert found is not None
    for transform in found[0]:
        item = transform(item)
    return item


def _texts(learn: TransformerLearner, item: Any) -> tuple[str, ...]:
    return as_texts(_value(learn, item), learn.tokenizer.encoding)
