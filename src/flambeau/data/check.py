"""Checking data before training: after reading it you know what makes a validation lie, and how each is found.

    leak     a validation result will look better than it is
    warning  something is probably wrong, or will stop the training
    note     worth knowing
Nothing is changed or dropped. What could not be checked is said too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau.data.check_report import LEVELS, CheckReport, Finding, Level, counted, shared_items, short_name
from flambeau.data.dataset import Rows
from flambeau.data.duplicates import MOST_PAIRS, Pair, clusters, equal_pairs, is_flat, near_pairs
from flambeau.data.item_facts import Half, ItemFacts, half_of
from flambeau.data.labels import is_missing
from flambeau.data.splitters import By, values_by
from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.data.data_loaders import DataLoaders

FEW_ITEMS = 10
"""A class with fewer training items is named."""
UNEVEN = 10.0
"""From here on the largest class is said to be so many times the smallest."""
SURE = 0.001
"""Shares of classes that differ between the halves as chance would once in a thousand splits are noted."""
DIM = 4096 // 257 + 1
"""The brightest byte that a picture of 12 bits in a file of 16 gives, rounded up."""
SMALL_SIDE = 16
LONG_SHAPE = 4.0



def check(dls: DataLoaders, groups: By | None = None, *, near_duplicates: bool = True) -> CheckReport:
    """Look for what makes a validation lie, and for items that will make trouble; every item is read once.

    `groups` (a column, a function of the item, or one value an item) tells which items belong together; a group on
    both sides of the split is a leak. `near_duplicates=False` compares content only, and does not decode pictures.

    Raises:
        TableError: there is no such column. ArgumentError: there is not one group for each item.
        EmptyError: a loader gives nothing.
    """
    titles = ["training", "validation", *(f"part {place}" for place in range(2, len(dls)))]
    kinds = _known_kinds(dls)
    halves = [
        half_of(loader, title, kinds, dls._n_inp or getattr(loader, "n_inp", None))
        for loader, title in zip(dls, titles, strict=False)
    ]
    facts = [half.facts(near_duplicates) for half in halves]
    return _Search(halves, facts, groups, near_duplicates).report()


def _known_kinds(dls: DataLoaders) -> list[Any] | None:
    known = getattr(getattr(dls.train, "maker", None), "kinds", None)
    return list(known) if known else None


class _Search:
    """The facts of all items, numbered through all halves, and what follows from them."""

    def __init__(
        self, halves: list[Half], facts: list[list[ItemFacts]], groups: By | None, near_duplicates: bool
    ) -> None:
        self.halves, self.groups, self.near = halves, groups, near_duplicates
        self.facts = [one for half in facts for one in half]
        self.half_of = [number for number, half in enumerate(facts) for _ in half]
        self.place_of = [place for half in facts for place in range(len(half))]
        self.are_pictures = any(half.has_pictures for half in halves)
        self.findings: list[Finding] = []
        self.not_checked: list[str] = []

    def report(self) -> CheckReport:
        import pandas as pd

        if len(self.halves) < 2:
            self.not_checked.append("leaks between the halves: there is no validation half")
        pairs = self._duplicates()
        self._groups()
        self._unreadable()
        classes = self._classes()
        self._columns()
        self._oddities()
        self.findings.sort(key=lambda finding: LEVELS.index(finding.level))
        table = pd.DataFrame([self._row(pair) for pair in pairs], columns=_PAIR_COLUMNS)
        return CheckReport(self.findings, table, classes, self.not_checked, self.halves, pairs)

    def _add(self, level: Level, title: str, numbers: Sequence[int], message: str, advice: str, n: int = 0) -> None:
        places = tuple((self.half_of[number], self.place_of[number]) for number in numbers)
        self.findings.append(Finding(level, title, n or len(numbers), message, advice, places))

    def _name(self, number: int) -> str:
        return short_name(self.halves[self.half_of[number]].name(self.place_of[number]))

    def _some(self, numbers: Sequence[int], n: int = 3) -> str:
        more = f" and {len(numbers) - n} more" if len(numbers) > n else ""
        return ", ".join(map(self._name, numbers[:n])) + more

    # duplicates

    def _duplicates(self) -> list[Pair]:
        unsteady = [half.title for half in self.halves if not half.is_steady]
        if unsteady:
            self.not_checked.append(
                f"duplicates: the {' and '.join(unsteady)} data set gives another item each time it is read (it "
                "augments by itself), so that content cannot be compared"
            )
            return []
        equal = equal_pairs([one.digest for one in self.facts])
        near: list[Pair] = []
        if not self.are_pictures:
            self.not_checked.append("near-duplicates: they are only looked for among pictures")
        elif not self.near:
            self.not_checked.append("near-duplicates, unreadable files, sizes: near_duplicates=False was asked for")
        else:
            self.not_checked.append(
                "copies that were mirrored, turned, strongly cropped or relit: the search for near-duplicates does not "
                "find them"
            )
            found = near_pairs([one.thumbnail for one in self.facts])
            near = found.pairs
            if found.strict:
                self.not_checked.append(
                    "copies that were changed much: these pictures are all so much alike that only nearly identical "
                    "ones count as duplicates"
                )
            if not found.complete:
                self.not_checked.append(
                    f"near-duplicates beyond the first {MOST_PAIRS:,} pairs: these pictures all look alike, as the "
                    "frames of a film do; split by film or scene (GroupSplitter)"
                )
            known = clusters(len(self.facts), equal)
            near = [pair for pair in near if known[pair.first] != known[pair.second]]
        self._tell_pairs("exact duplicates", equal)
        self._tell_pairs("near-duplicates", near)
        self._contradictions([*equal, *near])
        order = {pair: (not self._is_across(pair), -1 if pair.bits is None else pair.bits) for pair in [*equal, *near]}
        return sorted(order, key=order.__getitem__)

    def _is_across(self, pair: Pair) -> bool:
        return self.half_of[pair.first] != self.half_of[pair.second]

    def _tell_pairs(self, title: str, pairs: list[Pair]) -> None:
        across = [pair for pair in pairs if self._is_across(pair)]
        held_out = sorted({pair.second for pair in across})
        near = title == "near-duplicates"
        alike = "looks like" if near else "equals"
        if across:
            example = next(pair for pair in across if pair.second == held_out[0])
            share = f"{len(held_out) / max(sum(half.n for half in self.halves[1:]), 1):.1%}"
            whole = "picture" if self.are_pictures else "row"
            split_anew = shared_items(self.halves) is not None
            apart = "Keep copies on one side" + ": splitter=GroupSplitter(report.duplicate_groups())" * split_anew
            self._add(
                # rows of a few columns may be equal by chance; pictures are not
                "leak" if self.are_pictures else "warning",
                f"{title} across the split",
                held_out,
                f"{counted(len(held_out), f'held-out {whole}')} ({share}): each {alike} one in another half, such as "
                f"{self._name(example.second)} ({self._title(example.second)}) and {self._name(example.first)} "
                f"({self._title(example.first)}).",
                f"Look at them with .show('across'). {apart}, or delete one of each pair."
                if self.are_pictures
                else "Where equal rows are one case, drop repeats (df.drop_duplicates()) or use GroupSplitter.",
            )
        for number, half in enumerate(self.halves):
            within = [pair for pair in pairs if self.half_of[pair.first] == self.half_of[pair.second] == number]
            if within:
                copies = sorted({pair.second for pair in within})
                effect = "is learnt more than once" if number == 0 else "is counted more than once"
                self._add(
                    "note",
                    f"{title} within {half.title}",
                    copies,
                    f"{counted(len(copies), 'item')}: each {alike} an earlier one, such as "
                    f"{self._name(within[0].second)} and {self._name(within[0].first)}. What is there twice {effect}.",
                    f"Look at them with .show('{half.title}'); keep one of each where they are copies.",
                )

    def _title(self, number: int) -> str:
        return self.halves[self.half_of[number]].title

    def _contradictions(self, pairs: list[Pair]) -> None:
        labels = [one.label for one in self.facts]
        wrong = [
            pair
            for pair in pairs
            if labels[pair.first] is not None
            and labels[pair.second] is not None
            and labels[pair.first] != labels[pair.second]
        ]
        if wrong:
            first = wrong[0]
            self._add(
                "warning",
                "contradicting labels",
                sorted({number for pair in wrong for number in (pair.first, pair.second)}),
                f"{counted(len(wrong), 'pair')} of items that are alike, but not their labels, such as "
                f"{self._name(first.first)} "
                f"({labels[first.first]}) and {self._name(first.second)} ({labels[first.second]}).",
                "One of the two labels is wrong, or the inputs do not tell the classes apart: "
                "report.pairs.query('label != other_label').",
                n=len(wrong),
            )

    def _row(self, pair: Pair) -> tuple[Any, ...]:
        first, second = pair.first, pair.second
        where = "across" if self._is_across(pair) else self._title(first)
        numbers = [(self.half_of[at], self.place_of[at]) for at in (first, second)]
        halves = [self.halves[half].title for half, _ in numbers]
        names = [self.halves[half].name(place) for half, place in numbers]
        how = "exact" if pair.bits is None else "near"
        bits = pair.bits or 0
        return (
            where, how, bits, halves[0], numbers[0][1], names[0], self.facts[first].label,
            halves[1], numbers[1][1], names[1], self.facts[second].label,
        )  # fmt: skip

    # groups

    def _groups(self) -> None:
        if self.groups is None:
            self.not_checked.append(
                "groups (one patient, place or film on both sides): pass groups=, a column, a function of the item or "
                "one value an item"
            )
            return
        values = self._group_values(self.groups)
        held: dict[Any, list[int]] = {}
        in_training = set()
        missing = 0
        for number, value in enumerate(values):
            if is_missing(value):
                missing += 1
            elif self.half_of[number] == 0:
                in_training.add(value)
            else:
                held.setdefault(value, []).append(number)
        if missing:
            self.not_checked.append(f"groups of {missing} items, which have no value")
        shared = {value: numbers for value, numbers in held.items() if value in in_training}
        if shared:
            numbers = sorted(number for found in shared.values() for number in found)
            some = ", ".join(f"{value} ({len(found)} held out)" for value, found in list(shared.items())[:3])
            more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
            self._add(
                "leak",
                "groups on both sides",
                numbers,
                f"Held-out groups that are in training too: {len(shared)} of {len(held)}, with "
                f"{counted(len(numbers), 'held-out item')}: {some}{more}.",
                "Split by group: splitter=GroupSplitter(...) with the same groups, or KFoldSplitter(groups=...).",
                n=len(shared),
            )

    def _group_values(self, by: By) -> list[Any]:
        items = shared_items(self.halves)
        if items is not None:
            values = values_by(items.frame if isinstance(items, Rows) else items, by, "dls.check(groups=...)")
            return [values[index] for half in self.halves for index in half.dataset.indices]
        if isinstance(by, str):
            raise ArgumentError(
                f"groups={by!r} names a column, and these loaders were not made from one table by a data block. Pass "
                "one value an item, those of training first: groups=[...]."
            )
        if callable(by):
            return [by(half.dataset[place]) for half in self.halves for place in range(half.n)]
        return values_by(range(len(self.facts)), by, "dls.check(groups=...)")

    # items by themselves

    def _unreadable(self) -> None:
        broken = [number for number, one in enumerate(self.facts) if one.fault is not None]
        if broken:
            first = self.facts[broken[0]].fault or ""
            self._add(
                "warning",
                "unreadable items",
                broken,
                f"{counted(len(broken), 'item')} cannot be read: {self._some(broken)}. The first says: "
                + (first if len(first) <= 240 else first[:237] + "..."),
                "Training stops at the first of them. Repair or remove the files: "
                "[report.name(*place) for place in report['unreadable items'].places].",
            )

    def _classes(self) -> pd.DataFrame:
        import pandas as pd

        counts = [Counter[Any]() for _ in self.halves]
        for number, one in enumerate(self.facts):
            if _is_class(one.label):
                labels = one.label if isinstance(one.label, tuple) else (one.label,)
                counts[self.half_of[number]].update(labels)
        vocab = self._vocab()
        found = set().union(*counts)
        if not found or (not vocab and len(found) > max(len(self.facts) // 5, 2)):
            self.not_checked.append("class balance: the targets are not classes")
            return pd.DataFrame()
        names = list(vocab) if vocab else sorted(found, key=str)
        table = pd.DataFrame({half.title: [count[n] for n in names] for half, count in zip(self.halves, counts,
                             strict=True)}, index=pd.Index(names, name="class"))  # fmt: skip
        self._missing_classes(table)
        self._uneven_classes(table)
        return table

    def _vocab(self) -> list[Any]:
        """Return the classes of the first target, as far as they are known beforehand."""
        datasets = self.halves[0].datasets
        for column in [] if datasets is None else datasets.pipelines[datasets.n_inp : datasets.n_inp + 1]:
            for transform in column:
                if getattr(transform, "vocab", None) is not None:
                    return list(transform.vocab)  # type: ignore[attr-defined]
        return []

    def _missing_classes(self, table: pd.DataFrame) -> None:
        for column, half in enumerate(self.halves):
            absent = [str(name) for name, n in table[half.title].items() if n == 0]
            if absent:
                some = ", ".join(absent[:6]) + (f" and {len(absent) - 6} more" if len(absent) > 6 else "")
                self._add(
                    "warning",
                    f"classes missing in {half.title}",
                    [],
                    f"{len(absent)} of {counted(len(table), 'class')} without any {half.title} item: {some}.",
                    "The model cannot learn them: find items, or take them out of the vocabulary."
                    if column == 0
                    else "Nothing is known of how well they are told apart: KFoldSplitter(stratify=...) or "
                    "TrainTestSplitter(stratify=...) puts each class on both sides.",
                    n=len(absent),
                )

    def _uneven_classes(self, table: pd.DataFrame) -> None:
        training = table["training"]
        present = training[training > 0]
        if len(present) > 1 and present.max() / present.min() >= UNEVEN:
            self._add(
                "note", "uneven classes", [],
                f"The largest class, {present.idxmax()} ({present.max()} training items), is "
                f"{present.max() / present.min():.0f} times the smallest, {present.idxmin()} ({present.min()}); always "
                f"answering {present.idxmax()} is right {present.max() / present.sum():.1%} of the time.",
                "Accuracy says little here: look at F1Score, BalancedAccuracy or the confusion matrix, and give the "
                "loss weights or draw rare classes more often.", n=1,
            )  # fmt: skip
        rare = training[(training > 0) & (training < FEW_ITEMS)]
        if len(rare):
            some = ", ".join(f"{name} ({n})" for name, n in rare.head(6).items())
            self._add(
                "note", "rare classes", [],
                f"{counted(len(rare), 'class')} with fewer than {FEW_ITEMS} training items: {some}.",
                "Find more items, or join classes.", n=len(rare),
            )  # fmt: skip
        if len(self.halves) > 1 and len(table) > 1:
            self._different_shares(table)

    def _different_shares(self, table: pd.DataFrame) -> None:
        from scipy.stats import chi2_contingency

        both = table[["training", "validation"]]
        both = both[both.sum(axis=1) > 0]
        if len(both) < 2 or (both.sum() == 0).any():
            return
        probability = float(chi2_contingency(both.to_numpy())[1])
        if probability >= SURE:
            return
        shares = both / both.sum()
        gap = (shares["validation"] - shares["training"]).abs()
        worst = gap.idxmax()
        self._add(
            "note", "classes split unevenly", [],
            f"The shares of the classes differ between the halves more than a random split would make them "
            f"(chi-square, p = {probability:.1g}); most for {worst}: {shares.loc[worst, 'training']:.1%} of training, "
            f"{shares.loc[worst, 'validation']:.1%} of validation.",
            "Right for a split by time or place; else split with TrainTestSplitter(stratify=...).", n=1,
        )  # fmt: skip

    def _columns(self) -> None:
        if not isinstance(shared_items(self.halves), Rows):
            return
        training = self.halves[0].dataset.items
        empty = [str(name) for name in training.columns if training[name].isna().all()]
        constant = [
            str(name)
            for name in training.columns
            if str(name) not in empty and len({repr(value) for value in training[name]}) == 1 and len(training) > 1
        ]
        for title, names, what in (
            ("empty columns", empty, "without any value in training"),
            ("constant columns", constant, "with one and the same value in all of training"),
        ):
            if names:
                self._add(
                    "note", title, [],
                    f"{counted(len(names), 'column')} {what}: {', '.join(names[:8])}{', ...' * (len(names) > 8)}.",
                    "They teach nothing: leave them out.", n=len(names),
                )  # fmt: skip

    def _oddities(self) -> None:
        seen = [(number, one) for number, one in enumerate(self.facts) if one.size is not None]
        if not seen:
            return
        flat = [number for number, one in seen if one.thumbnail is not None and is_flat(one.thumbnail)]
        small = [number for number, one in seen if one.size is not None and min(one.size) < SMALL_SIDE]
        long = [number for number, one in seen if one.size is not None and max(one.size) > LONG_SHAPE * min(one.size)]
        dim = [
            number
            for number, one in seen
            if str(one.mode).startswith("I;16") and one.thumbnail is not None and one.thumbnail.max() <= DIM
        ]
        modes = Counter(one.mode for _, one in seen)
        usual = modes.most_common(1)[0][0]
        other = [number for number, one in seen if one.mode != usual]
        told = ", ".join(f"{mode} ({count})" for mode, count in modes.most_common(5))
        for title, numbers, what, advice in (
            ("pictures of one colour", flat, "on which nothing is to be seen",
             "Look at them; they may be failed downloads."),
            ("tiny pictures", small, f"less than {SMALL_SIDE} pixels wide or high",
             "Look at them; they may be icons or failed downloads."),
            ("long pictures", long, f"more than {LONG_SHAPE:g} times as long as wide",
             "A square crop loses most of them: ResizeMethod.Pad keeps all."),
            ("dim 16-bit pictures", dim,
             "of 16 bits that use a sixteenth of the range at most, as 12-bit ones do: they are opened nearly black",
             "Multiply their pixels by 16 and write them anew; PILImage tells how."),
            ("mixed modes", other, f"not of mode {usual}, as most are ({told})",
             "flambeau opens them all alike; where one class has another mode, the model may learn the mode."),
        ):  # fmt: skip
            if numbers:
                message = f"{counted(len(numbers), 'picture')} {what}: {self._some(numbers)}."
                self._add("note", title, numbers, message, advice)


_PAIR_COLUMNS = ["where", "how", "bits", "half", "place", "item", "label",
                 "other_half", "other_place", "other_item", "other_label"]  # fmt: skip


def _is_class(label: Any) -> bool:
    return label is not None and not isinstance(label, float)
