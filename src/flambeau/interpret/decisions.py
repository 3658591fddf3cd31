"""Deciding item by item: after reading it you know how data are cleaned without losing a decision on the way.

The items with the largest losses are often labelled wrongly or do not belong at all. A person looks at them group by
group (a class, a split); what was decided stays when the group is switched, and nothing is changed on disk here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau.data.dataset import Getter
from flambeau.data.kinds import Category
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.interpret.interpretation import ClassificationInterpretation

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

KEEP, DELETE = "<Keep>", "<Delete>"
SPLITS = ("Train", "Valid")


@dataclass(frozen=True)
class Candidate:
    """An item to decide on: what it is, its label, its split and its loss."""

    item: Any
    label: str
    split: str
    loss: float


class Decisions:
    """What is to happen to each candidate: keep it (until something else is said), delete it, or give it another label.

    Candidates are numbered by their place in `candidates`, whatever group is looked at.
    """

    def __init__(self, candidates: Sequence[Candidate], vocab: Sequence[str]) -> None:
        self.candidates, self.vocab = list(candidates), list(vocab)
        self._chosen: dict[int, str] = {}

    @classmethod
    def from_learner(cls, learn: Learner) -> Decisions:
        """Return the decisions on all items of a learner's splits, with the losses that it has now.

        Raises:
            ArgumentError: the target is not one class an item.
        """
        kinds = learn.dls.kinds[learn.dls.n_inp :]
        if len(kinds) != 1 or not isinstance(kinds[0], Category):
            names = ", ".join(type(kind).__name__ for kind in kinds)
            raise ArgumentError(f"Only items with one class each can be given another class; the targets are: {names}.")
        candidates = []
        for place, split in enumerate(SPLITS[: len(learn.dls)]):
            found = ClassificationInterpretation.from_learner(learn, place)
            targets = found.measured.targets
            assert targets is not None
            numbers = zip(targets.tolist(), found.losses.tolist(), strict=True)
            candidates += [
                Candidate(_input_of(found, at), found.vocab[target], split, loss)
                for at, (target, loss) in enumerate(numbers)
            ]
        return cls(candidates, [str(name) for name in kinds[0].vocab])

    @property
    def options(self) -> list[str]:
        """What can be decided."""
        return [KEEP, DELETE, *self.vocab]

    def worst(self, label: str, split: str = SPLITS[0], n: int | None = None) -> list[int]:
        """Return the numbers of the candidates of a class in a split, the largest loss first."""
        if label not in self.vocab:
            raise unknown_name("class", label, self.vocab)
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        group = [at for at, one in enumerate(self.candidates) if one.label == label and one.split == split]
        return sorted(group, key=lambda at: -self.candidates[at].loss)[:n]

    def __getitem__(self, number: int) -> str:
        return self._chosen.get(number, KEEP)

    def __setitem__(self, number: int, choice: str) -> None:
        if choice not in self.options:
            raise unknown_name("decision", choice, self.options)
        if not 0 <= number < len(self.candidates):
            raise ArgumentError(f"There are {len(self)} candidates, numbered from 0; {number} is none of them.")
        if choice in (KEEP, self.candidates[number].label):
            self._chosen.pop(number, None)
        else:
            self._chosen[number] = choice

    def delete(self) -> list[int]:
        """Return the numbers of the candidates to delete."""
        return [number for number, choice in sorted(self._chosen.items()) if choice == DELETE]

    def change(self) -> list[tuple[int, str]]:
        """Return the numbers of the candidates to relabel, each with its new label."""
        return [(number, choice) for number, choice in sorted(self._chosen.items()) if choice != DELETE]

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)


def _input_of(found: ClassificationInterpretation, place: int) -> Any:
    """Return what a person would look at: the item, or what get_x takes from a row of a table."""
    value = found.item(place)
    for transform in found.loader.dataset.pipelines[0]:
        if not isinstance(transform, Getter):
            break
        value = transform(value)
    return value
