"""A folder of pictures: after reading it you know which of them train, which validate, and what is left out aloud.

Either one folder a class, of which a share validates, or train/<class> and valid/<class> (also val or validation). What
fits neither is refused or left out with a printed line: a picture at a wrong place would become a class of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flambeau.foundation.errors import ArgumentError, DataError, EmptyError

TRAIN, VALID, TEST = ("train", "training"), ("valid", "val", "validation"), ("test", "testing")
REPORT = ("report.html", "history.csv")
"""What lies beside the pictures of a report that an earlier command has written."""
MOST_TOLD = 5
LAYOUT = "Expected one folder a class, or train/<class> and valid/<class>."


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder: those that train, and those that validate (None: a share of the former)."""

    folder: Path
    training: list[Path]
    validation: list[Path] | None


def read_picture_folder(folder: Path, out: Path) -> PictureFolder:
    """Return the pictures that train and validate, and print what is left out: results at `out`, damaged files, ...

    Raises:
        ArgumentError: there is no such folder.
        EmptyError: it has too few pictures.
        DataError: it cannot be told what its folders mean.
    """
    from flambeau.data.getters import get_image_files

    require_folder(folder)
    files = _without_results(folder, [Path(file) for file in get_image_files(folder)], out)
    train, valid = _halves(folder, files)
    training = _in_classes(train, files)
    validation = None if valid is None else _in_classes(valid, files)
    damaged = _damaged([*training, *(validation or ())])
    training = [file for file in training if file not in damaged]
    if len(training) < 2:
        raise EmptyError(f"{train} holds {len(training)} picture(s) to train on and to validate; that is too few.")
    if validation is None:
        return PictureFolder(folder, training, None)
    validation = [file for file in validation if file not in damaged]
    if not validation:
        raise EmptyError(f"{valid} holds no picture in a class folder, so that nothing validates. {LAYOUT}")
    return PictureFolder(folder, training, validation)


def require_folder(folder: Path) -> None:
    """Raise an ArgumentError when there is no such folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ArgumentError(f"A folder of pictures was expected, but {folder} {what}.")


def _tell_left_out(n: int, which: str, examples: Iterable[object]) -> None:
    some = [str(example) for example in examples]
    more = f" and {len(some) - MOST_TOLD} more" if len(some) > MOST_TOLD else ""
    print(f"Left out: {_counted(n)} {which}: {', '.join(some[:MOST_TOLD])}{more}.")


def _counted(n: int) -> str:
    return "1 picture" if n == 1 else f"{n} pictures"


def _without_results(folder: Path, files: list[Path], out: Path) -> list[Path]:
    """Leave out the pictures of reports, of this command's `out` and of earlier ones."""
    holding = {file.parent for file in files}
    below = {part for parent in holding for part in (parent, *parent.parents) if part.is_relative_to(folder)} - {folder}
    written = [parent for parent in below if all((parent / name).is_file() for name in REPORT)]
    here = folder.resolve()
    written += [parent for parent in below if parent.resolve() == out.resolve()]
    written += [folder / "pictures"] if here == out.resolve() and (folder / REPORT[0]).is_file() else []
    results = {parent for parent in holding if any(parent.is_relative_to(place) for place in written)}
    kept = [file for file in files if file.parent not in results]
    if len(kept) < len(files):
        _tell_left_out(len(files) - len(kept), "of reports that flambeau wrote", sorted(results))
    return kept


def _damaged(files: Sequence[Path]) -> set[Path]:
    """Decode all pictures once and tell which are damaged: a training would end at the first of them."""
    from flambeau.vision.files import picture_faults

    faults = picture_faults(files, progress=None)
    if faults:
        _tell_left_out(len(faults), "that cannot be read", faults)
        print(f"The first: {next(iter(faults.values()))}")
    return set(faults)


def _halves(folder: Path, files: Sequence[Path]) -> tuple[Path, Path | None]:
    """Return the folders that hold the classes of training and of validation.

    Without a folder for validation that is None; where there are no halves, training is the whole folder. A folder is
    a half by its name and by holding class folders: "train" may be a class, too, beside "bus".
    """
    count, nested = Counter[str](), Counter[str]()
    for file in files:
        parts = file.relative_to(folder).parts
        count[parts[0]] += len(parts) > 1
        nested[parts[0]] += len(parts) > 2
    names = [name for name in sorted(count) if count[name]]
    train, valid, test = ([name for name in names if name.lower() in known] for known in (TRAIN, VALID, TEST))
    halves = [name for name in (*train, *valid, *test) if nested[name]]
    if not halves and not (train and valid):
        return folder, None
    told = f"{folder} holds the folders {', '.join(names)}"
    for name in (*train, *valid):
        if not nested[name]:
            raise DataError(f"{told}, but the pictures in {name} lie in no folder of their class. {LAYOUT}")
    if len(train) != 1 or len(valid) > 1:
        raise DataError(f"{told}, and it cannot be told which of them trains and which validates. {LAYOUT}")
    rest = [name for name in names if name not in (*train, *valid)]
    if valid:
        if rest:
            _tell_left_out(sum(count[name] for name in rest), "outside the halves", rest)
        return folder / train[0], folder / valid[0]
    unused = [part.name for part in folder.iterdir() if part.is_dir() and part.name.lower() in VALID]
    if unused:
        raise DataError(f"{told} and {unused[0]}, which holds no pictures. {LAYOUT}")
    if set(rest) - set(test):
        raise DataError(f"{told}: {train[0]} looks like a half and {rest[0]} like a class. {LAYOUT}")
    print(f"There is no folder of pictures to validate beside {folder / train[0]}: a share of its pictures validates.")
    if rest:
        _tell_left_out(sum(count[name] for name in rest), "kept for a test by `flambeau evaluate`", rest)
    return folder / train[0], None


def _in_classes(root: Path, files: Sequence[Path]) -> list[Path]:
    """Return the files that lie in the class folders under `root`, and tell of those that lie in none.

    Raises:
        DataError: no file lies in one, or a folder of pictures holds further ones.
    """
    inside = [file for file in files if file.is_relative_to(root)]
    loose = [file for file in inside if file.parent == root]
    kept = [file for file in inside if file.parent != root]
    if not kept:
        found = f"{_counted(len(loose))} in {root} itself" if loose else f"no pictures in {root}"
        raise DataError(f"There are no class folders with pictures in {root}: found {found}. {LAYOUT}")
    classes = {file.parent for file in kept}
    for inner in sorted(classes):
        outer = next((parent for parent in inner.parents if parent in classes), None)
        if outer is not None:
            raise DataError(
                f"The folder {outer} holds pictures, and so does {inner} in it: it cannot be told whether "
                f"{inner.name!r} is a class. Move its pictures into {outer}, or the folder beside it."
            )
    if loose:
        _tell_left_out(len(loose), f"beside the class folders in {root}", (file.name for file in loose))
    return kept
