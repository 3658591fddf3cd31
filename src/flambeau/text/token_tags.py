"""One answer a word: after reading it you know how names are found in a text, and how words meet a model's subwords.

A transformer cuts a word into several tokens. The first of them carries the word's tag, the others and the markers
carry none: they are not asked for in the loss, and their answers are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from flambeau.data.block import TransformBlock
from flambeau.data.kinds import Kind
from flambeau.data.labels import CategoryMap
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError, LabelError
from flambeau.foundation.lists import L

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

NOT_ASKED = -100  # the target of a token that is no word's first
NO_TAG = None  # of a word that the tokenizer leaves out, and the model does not see


@dataclass(frozen=True)
class TagsOfTokens(Kind):
    """A tag for each token of a text: an integer tensor (time,), -100 for tokens that carry none."""

    vocab: tuple[Any, ...] = ()
    pad_id: int = NOT_ASKED
    ragged: ClassVar[bool] = True

    def decoded(self, value: Any) -> list[Any]:
        """Return the tags of the tokens that carry one."""
        numbers = torch.as_tensor(value).reshape(-1).tolist()
        return [self.vocab[number] for number in numbers if 0 <= number < len(self.vocab)]

    def text(self, value: Any) -> str:
        return " ".join(map(str, self.decoded(value)))

    def settings(self) -> dict[str, Any]:
        return {"vocab": list(self.vocab)}


class TokenTags(Transform):
    """Turn a list of tags, one a word, into their numbers: an int64 tensor (words,).

    Raises:
        LabelError: a tag is not among the classes. DataError: it is no list of tags.
    """

    def __init__(self, vocab: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.vocab: CategoryMap | None = None if vocab is None else CategoryMap(list(vocab), sort=False)

    def setups(self, items: Any) -> None:
        """Learn the tags of the training items."""
        if self.vocab is None and items is not None:
            self.vocab = CategoryMap([tag for tags in items for tag in _listed(tags)])

    @property
    def kind(self) -> Kind | None:
        return TagsOfTokens(tuple(self.vocab or ()))

    def encodes(self, x: Any) -> Tensor:
        if self.vocab is None:
            raise DataError("TokenTags knows no tags yet: call setup(lists of tags), or give it vocab=...")
        numbers = self.vocab.map_objs(_listed(x))
        return torch.tensor(list(numbers), dtype=torch.int64)

    def decodes(self, x: Any) -> Any:
        return TagsOfTokens(tuple(self.vocab or ())).decoded(x)

    def _on_parts(self, function: Any, x: Any) -> Any:
        return function(x)

    def settings(self) -> dict[str, Any]:
        return {"vocab": list(self.vocab or ())}

    def align(self, tags: Tensor, word_of: Sequence[int], n_words: int, where: str) -> list[int]:
        """Return a number for each token: of the first token of a word its tag, -100 for the others.

        A word of which the tokenizer left nothing keeps its tag to itself.

        Raises:
            LabelError: there are not as many tags as words.
        """
        if n_words != len(tags):
            raise LabelError(f"There are {n_words} words but {len(tags)} tags in {where}. Give each word one tag.")
        aligned = [NOT_ASKED] * len(word_of)
        for place, word in first_tokens(word_of):
            aligned[place] = int(tags[word])
        return aligned


def first_tokens(word_of: Sequence[int]) -> list[tuple[int, int]]:
    """Return the place of each word's first token, and the word; `word_of` is the word of each token, -1 for none."""
    pairs = enumerate(zip([-1, *word_of], word_of, strict=False))
    return [(place, word) for place, (before, word) in pairs if word >= 0 and word != before]


def _listed(tags: Any) -> list[Any]:
    if isinstance(tags, str) or not hasattr(tags, "__iter__"):
        raise DataError(f"A list of tags, one a word, was expected; got {tags!r:.80} of type {type(tags).__name__}.")
    return list(tags)


def words_of(item: Any) -> list[str]:
    """Return the words of an item: a list of words as it is, a text cut at its white space.

    Raises:
        DataError: it is neither.
    """
    if isinstance(item, str):
        return item.split()
    is_list = isinstance(item, list | tuple | L) or hasattr(item, "tolist")
    words: list[Any] = list(item) if is_list else [None]
    if not all(isinstance(word, str) for word in words):
        raise DataError(f"A list of words (or a text) was expected; got {item!r:.80} of type {type(item).__name__}.")
    return words


def TokenTagsBlock(vocab: Iterable[Any] | None = None) -> TransformBlock:
    """Return the block of a tag for each word; beside it stands `TextBlock.from_transformer`, given lists of words."""
    return TransformBlock(type_tfms=TokenTags(vocab))


def tag_words(learn: Learner, text: str | Sequence[str]) -> list[tuple[str, Any]]:
    """Return each word of a text with the tag that a learner gives it; see `tag_of_words`.

    Raises:
        ArgumentError: the learner gives no tags.
    """
    kinds = learn.dls.kinds[learn.dls.n_inp :]
    if not kinds or not isinstance(kinds[0], TagsOfTokens):
        raise ArgumentError("This learner gives no tags: train one on loaders with a TokenTagsBlock.")
    words = words_of(text)
    return list(zip(words, learn.predict(words)[0], strict=True)) if words else []
