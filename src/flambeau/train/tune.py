"""Searching hyper-parameters: after reading it you know how many small trainings find settings for the long one.

A trial is one training with settings drawn from a space. Optuna draws them: at first at random, later near what went
well (a tree-structured Parzen estimator, Bergstra 2011). Trials that lag behind are ended early (callbacks/pruning.py),
and all of them are kept where several processes can work on them (study_storage.py).
"""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from flambeau.foundation.errors import ArgumentError, TrainingError, unknown_name
from flambeau.foundation.processes import is_first_process
from flambeau.foundation.seeds import no_random
from flambeau.train.callbacks.pruning import PruningCallback
from flambeau.train.learner import Learner
from flambeau.train.monitor import require_monitor, smaller_is_better
from flambeau.train.search_space import Space, import_optuna, read_space
from flambeau.train.study_storage import (
    ERROR,
    PROCESS,
    REASON,
    WITHDRAWN,
    close_dead_trials,
    counted_trials,
    open_storage,
    this_process,
)
from flambeau.train.tune_result import TuneResult, trial_line

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

DIRECTIONS = ("minimize", "maximize")
MONITOR = "monitor"
LONGEST_ERROR = 2000  # letters of an error that a study keeps
WORTH_COLLECTING = 2.0  # seconds of a trial: looking for garbage takes some tenths, and a quick trial leaves little


def tune(
    make_learner: Callable[..., Any],
    space: Mapping[str, Any] | None = None,
    n_trials: int = 20,
    *,
    train: Callable[..., Any] | None = None,
    monitor: str = "valid_loss",
    direction: str | None = None,
    storage: Any = None,
    study_name: str = "flambeau",
    seed: int | None = None,
    prune: Any = True,
    sampler: Any = None,
    processes: int = 1,
    verbose: bool = True,
) -> TuneResult:
    """Search the settings with which a training ends best.

        def make_learner(method, min_scale, arch):
            dls = ImageDataLoaders.from_folder(
                path, item_tfms=Resize(256, method=method), batch_tfms=aug_transforms(size=224, min_scale=min_scale)
            )
            return vision_learner(dls, arch, metrics=error_rate)

        result = tune(
            make_learner,
            {"method": ["squish", "crop", "pad"], "min_scale": (0.3, 1.0), "arch": [resnet18, resnet34],
             "lr": (1e-4, 1e-2, "log"), "epochs": [2, 4]},
            n_trials=20,
            train=lambda learn, epochs, lr: learn.fine_tune(epochs, lr),
            monitor="error_rate",
            storage="sweeps/pets",
        )
        result.best_params, result.frame
        result.plot_history(); result.plot_importances(); result.plot_slices()

    Each setting of the space goes to the arguments of this name of `make_learner` and `train`; one that neither names
    goes to whichever takes `**options`. How a space is written: see search_space.py. A call of the same `study_name`
    and `storage` goes on where the last one ended, and `n_trials` counts all trials ever made. Several processes or
    machines share a study by running the same script with the same storage: a path on a disk that all of them see (a
    journal file), or the URL of a database, "postgresql://user:password@host/name". Never SQLite on a network disk.

    A trial that raises, for lack of memory too, is noted in `result.frame` and the study goes on. Ctrl-C ends the
    search and returns the result of the trials that finished.

    Args:
        make_learner: returns a learner for settings of the space. Without a `space` it is an objective as Optuna's
            users know it: it takes a trial and returns a number.
        space: what each setting may be.
        n_trials: how many trials the study shall have in all, those that failed or were pruned counted too.
        train: trains the learner; None: `learn.fit_one_cycle(epochs, lr)` with `epochs` and `lr` of the space.
        monitor: the number, of the last epoch, that counts: "valid_loss", or a metric's name.
        direction: "minimize" or "maximize"; None: losses and errors shall be small, all else large.
        storage: where the study is kept; None: in memory.
        seed: makes a search in one process repeat itself; each trial begins with this seed too, so that all of them
            see the same split and start from the same weights.
        prune: True: give up trials worse than the median of their like; False: never; or a pruner of Optuna.
        sampler: a sampler of Optuna instead of its usual one.
        processes: work in so many new processes; needs a storage, and functions that stand in a module.
        verbose: print a line a trial.

    Raises:
        ArgumentError: the space, the functions or the storage do not fit; the study there is another one.
        UnknownNameError: `monitor` is measured by no learner, or a setting is taken by no function.
        TrainingError: no trial finished; the message tells why.
        MissingDependencyError: Optuna is not installed.
    """
    arguments = dict(locals())
    import_optuna()
    _check_numbers(n_trials, processes, seed)
    if not callable(make_learner):
        raise ArgumentError(f"make_learner must be a function that returns a learner, got {make_learner!r}.")
    direction = _checked_direction(direction, monitor)
    if processes > 1:
        return _in_processes(arguments, direction)
    with quiet_optuna():
        study, place = _open_study(storage, study_name, monitor, direction, prune, sampler, seed)
        job = _Job(study, make_learner, None, train, monitor, "none", seed, sampler is None, verbose)
        if space is not None:
            known = read_space(space)
            train = train or one_cycle
            _check_arguments(known, make_learner, train)
            _check_same_space(study, known)
            rule = ("median" if prune else "none") if isinstance(prune, bool) else "study"
            job = _Job(study, make_learner, known, train, monitor, rule, seed, sampler is None, verbose)
        n_dead, n_done = close_dead_trials(study), len(counted_trials(study))
        if job.announces:
            print(_opening(job, direction, n_trials, n_done, n_dead, place), flush=True)
        interrupted = _search(job, n_trials)
        return _result(job, place, interrupted)


def one_cycle(learn: Learner, epochs: int, lr: float | None = None) -> None:
    """Train by `fit_one_cycle`: what `tune` does where it is not told how to train."""
    learn.fit_one_cycle(epochs, lr)


@dataclass
class _Job:
    """What a trial needs to know; `space` None: `make_learner` is an objective."""

    study: Study
    make_learner: Callable[..., Any]
    space: Space | None
    train: Callable[..., Any] | None
    monitor: str
    rule: str
    seed: int | None
    own_sampler: bool
    verbose: bool

    @property
    def announces(self) -> bool:
        """Whether to tell of the whole search; where several processes work, the one that started them does."""
        return self.speaks and multiprocessing.parent_process() is None

    @property
    def speaks(self) -> bool:
        """Whether to print at all; of the processes of torchrun the first does."""
        return self.verbose and is_first_process()

    @property
    def label(self) -> str:
        """What the trials' values are called."""
        return "value" if self.space is None else self.monitor


class _NotATrialsFault(Exception):
    """Carry an error that every trial would raise past the net that catches those of single trials."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


# one trial after another


def _search(job: _Job, n_trials: int) -> bool:
    """Run trials until the study has `n_trials`; return whether Ctrl-C ended it."""
    from optuna.trial import TrialState

    study = job.study
    while len(counted_trials(study)) < n_trials:
        trial = study.ask()
        trial.set_user_attr(PROCESS, this_process())
        ranks = [counted.number for counted in counted_trials(study)]
        if ranks.index(trial.number) >= n_trials:  # another process was quicker
            trial.set_user_attr(WITHDRAWN, True)
            study.tell(trial, state=TrialState.FAIL)
            break
        try:
            _run(job, trial)
        except KeyboardInterrupt:
            study.tell(trial, state=TrialState.FAIL)
            return True
        except _NotATrialsFault as carrier:
            study.tell(trial, state=TrialState.FAIL)
            raise carrier.error from None
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        if job.speaks:
            print(trial_line(study.trials[trial.number], study, job.label), flush=True)
    return False


def _run(job: _Job, trial: Trial) -> None:
    """Run one trial and tell the study how it went."""
    from optuna import TrialPruned
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    if job.own_sampler and job.seed is not None:
        # made anew for each trial, so that a resumed study draws what an unbroken one would have drawn
        job.study.sampler = TPESampler(seed=random.Random(f"{job.seed}/{trial.number}").getrandbits(32))
    started = time.perf_counter()
    chance: AbstractContextManager[Any] = nullcontext() if job.seed is None else no_random(job.seed)
    try:
        with chance:
            value = job.make_learner(trial) if job.space is None else _value_of_training(job, trial)
        job.study.tell(trial, value)
    except TrialPruned as reason:
        trial.set_user_attr(REASON, str(reason))
        job.study.tell(trial, state=TrialState.PRUNED)
    except (_NotATrialsFault, KeyboardInterrupt):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
        trial.set_user_attr(ERROR, f"{told} ({where.filename}:{where.lineno})")
        job.study.tell(trial, state=TrialState.FAIL)
    finally:
        _free_memory(time.perf_counter() - started)


def _value_of_training(job: _Job, trial: Trial) -> float:
    train = job.train or one_cycle
    settings = {name: dimension.suggest(trial, name) for name, dimension in (job.space or {}).items()}
    for_making, for_training = _shared_out(settings, job.make_learner, train)
    learn = job.make_learner(**for_making)
    if not isinstance(learn, Learner):
        raise _NotATrialsFault(
            ArgumentError(
                f"make_learner must return a learner, and returned {learn!r}. To return a number, leave the space out "
                "and take a trial: tune(objective)."
            )
        )
    try:
        require_monitor(learn, job.monitor)
    except ArgumentError as error:
        raise _NotATrialsFault(error) from error
    watch = PruningCallback(trial, job.monitor, job.rule)
    with learn.no_logging(), learn.added_cbs([watch]):
        train(learn, **for_training)
    if not watch.values:
        raise ArgumentError("train ended without an epoch, so there is no number to judge the trial by.")
    return watch.values[-1]


def _free_memory(seconds: float) -> None:
    """Let go of a trial's model and batches before the next one needs the room."""
    on_gpu = torch.cuda.is_initialized()
    if on_gpu or seconds > WORTH_COLLECTING:
        gc.collect()  # a learner and its callbacks hold each other
    if on_gpu:
        torch.cuda.empty_cache()


def _result(job: _Job, place: str, interrupted: bool) -> TuneResult:
    from optuna.trial import TrialState

    trials = [trial for trial in counted_trials(job.study) if trial.state != TrialState.RUNNING]
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        if interrupted:
            raise KeyboardInterrupt
        raise _nothing_finished(trials)
    result = TuneResult(job.study, job.label, place, interrupted, job.space or {})
    if interrupted and multiprocessing.parent_process() is None and is_first_process():
        print(f"Interrupted. The result is that of the {len(result.frame)} trials so far.", flush=True)
    if job.announces:
        print(result, flush=True)
    return result


def _nothing_finished(trials: list[FrozenTrial]) -> TrainingError:
    failed = [trial for trial in trials if ERROR in trial.user_attrs]
    if not failed:
        pruned = {str(trial.user_attrs.get(REASON, "no reason")) for trial in trials}
        return TrainingError(
            f"None of {len(trials)} trials finished; all were given up: {'; '.join(sorted(pruned)[:3])}. Lower the "
            "learning rates of the space, or pass prune=False."
        )
    first = failed[0]
    told = sorted({str(trial.user_attrs[ERROR]).split(":")[0] for trial in failed})
    return TrainingError(
        f"None of {len(trials)} trials finished; {len(failed)} raised an error ({', '.join(told)}). The first, with "
        f"{first.params}: {first.user_attrs[ERROR]}. Call your function once by itself with these settings, outside "
        "tune, to see the whole traceback."
    )


# who takes which setting


def _parameters(function: Callable[..., Any], skip: int) -> tuple[dict[str, bool], bool]:
    """Return a function's arguments by name, with whether each must be given, and whether it takes any others."""
    every = list(inspect.signature(function).parameters.values())[skip:]
    named = {
        each.name: each.default is each.empty
        for each in every
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    return named, any(each.kind is each.VAR_KEYWORD for each in every)


def _shared_out(
    settings: Mapping[str, Any], make_learner: Callable[..., Any], train: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings for `make_learner` and for `train`."""
    (making, making_any), (training, training_any) = _parameters(make_learner, 0), _parameters(train, 1)
    unnamed = [name for name in settings if name not in making and name not in training]
    return (
        {name: v for name, v in settings.items() if name in making or (making_any and name in unnamed)},
        {name: v for name, v in settings.items() if name in training or (training_any and name in unnamed)},
    )


def _check_arguments(space: Space, make_learner: Callable[..., Any], train: Callable[..., Any]) -> None:
    (making, making_any), (training, training_any) = _parameters(make_learner, 0), _parameters(train, 1)
    for name in space:
        if name not in making and name not in training and not making_any and not training_any:
            known = [*making, *training]
            raise unknown_name(
                "argument of make_learner or train", name, known, f"The space searches {name}, which nobody takes."
            )
    lacking = [name for names in (making, training) for name, needed in names.items() if needed and name not in space]
    if lacking and train is one_cycle and lacking == ["epochs"]:
        raise ArgumentError(
            "With a space, make_learner must return a learner, which is trained then; an objective takes a trial and "
            "no space, and returns a number: def objective(trial): x = trial.suggest_float('x', -5, 5); return x * x, "
            "and tune(objective). If make_learner returns a learner: the space holds no epochs. "
            "Without train=..., a trial is trained by learn.fit_one_cycle(epochs, lr): put "
            '"epochs": [3] (or several) into the space, or pass train=lambda learn, lr: learn.fine_tune(3, lr).'
        )
    if lacking:
        raise ArgumentError(
            f"make_learner and train need {', '.join(lacking)}, which the space does not hold ({', '.join(space)}). "
            "Add it to the space, [value] for a fixed one, or give the argument a default."
        )


# the study


def _open_study(
    storage: Any, study_name: str, monitor: str, direction: str, prune: Any, sampler: Any, seed: int | None
) -> tuple[Study, str]:
    optuna = import_optuna()
    opened, place = open_storage(storage)
    own_pruner = optuna.pruners.NopPruner() if isinstance(prune, bool) else prune
    if not isinstance(own_pruner, optuna.pruners.BasePruner):
        raise ArgumentError(f"prune is True, False or a pruner of Optuna, got {prune!r}.")
    study: Study = optuna.create_study(
        study_name=study_name,
        storage=opened,
        direction=direction,
        sampler=sampler or optuna.samplers.TPESampler(seed=seed),
        pruner=own_pruner,
        load_if_exists=True,
    )
    before = study.user_attrs.get(MONITOR, monitor)
    kept = study.direction.name.lower()
    if before != monitor or kept != direction:
        raise ArgumentError(
            f"{place} holds a study {study_name!r} that shall {kept} {before}; this call shall {direction} {monitor}. "
            "Name it otherwise (study_name=...), or ask for the same."
        )
    if MONITOR not in study.user_attrs:
        study.set_user_attr(MONITOR, monitor)
    return study, place


def _check_same_space(study: Study, space: Space) -> None:
    from optuna.distributions import check_distribution_compatibility

    for trial in study.get_trials(deepcopy=False):
        for name, before in trial.distributions.items():
            if name not in space:
                continue
            try:
                check_distribution_compatibility(before, space[name].distribution)
            except ValueError as error:
                raise ArgumentError(
                    f"The study {study.study_name!r} searched {name} in {before}; this space has "
                    f"{space[name].distribution}, which is another kind of choice. Name a new study (study_name=...)."
                ) from error


def _opening(job: _Job, direction: str, n_trials: int, n_done: int, n_dead: int, place: str) -> str:
    goal = {"minimize": "smallest", "maximize": "largest"}[direction]
    other = {"minimize": "maximize", "maximize": "minimize"}[direction]
    what = job.monitor if job.space is not None else "value of the objective"
    names = f"Searching {', '.join(job.space)}" if job.space is not None else "Searching"
    lines = [f"{names} for the {goal} {what} (direction={other!r} turns that round); kept in {place}"]
    if n_dead:
        lines.append(f"{n_dead} trial(s) of a process that was killed are left out.")
    if n_done:
        lines.append(f"{n_done} trials are there already; {max(n_trials - n_done, 0)} of {n_trials} to go.")
    return "\n".join(lines)


def _check_numbers(n_trials: Any, processes: Any, seed: Any) -> None:
    for name, number in (("n_trials", n_trials), ("processes", processes)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ArgumentError(f"{name} must be a whole number, 1 or more; got {number!r}.")
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise ArgumentError(f"seed must be a whole number, 0 or more; got {seed!r}.")


def _checked_direction(direction: str | None, monitor: str) -> str:
    if direction is not None and direction not in DIRECTIONS:
        raise unknown_name("direction", direction, DIRECTIONS)
    return direction or ("minimize" if smaller_is_better(monitor) else "maximize")


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna itself print warnings only, for a while: our own line a trial tells the rest."""
    optuna = import_optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


# several processes


def _in_processes(arguments: dict[str, Any], direction: str) -> TuneResult:
    """Let new processes work on the study, each with its share of the cores, and return what came of it."""
    processes, storage = arguments["processes"], arguments["storage"]
    if not isinstance(storage, str | os.PathLike):
        raise ArgumentError(
            f"{processes} processes need a place that all of them can open: storage='folder', or a database's URL."
        )
    for role in ("make_learner", "train"):
        _require_importable(role, arguments[role])
    space = None if arguments["space"] is None else read_space(arguments["space"])

    def opened() -> tuple[_Job, str]:
        study, place = _open_study(
            storage, arguments["study_name"], arguments["monitor"], direction, arguments["prune"],
            arguments["sampler"], arguments["seed"],
        )  # fmt: skip
        job = _Job(
            study, arguments["make_learner"], space, arguments["train"], arguments["monitor"], "none", None, False,
            arguments["verbose"],
        )  # fmt: skip
        return job, place

    # made before they start, and looked at for mistakes that every one of them would make
    with quiet_optuna():
        job, place = opened()
        n_dead, n_done = close_dead_trials(job.study), len(counted_trials(job.study))
        if job.announces:
            print(_opening(job, direction, arguments["n_trials"], n_done, n_dead, place), flush=True)
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    each = {**arguments, "processes": 1}
    n_threads = max(torch.get_num_threads() // processes, 1)
    workers = [context.Process(target=_work, args=(each, n_threads, told)) for _ in range(processes)]
    interrupted = False
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        interrupted = True  # the terminal tells the workers as well
        for worker in workers:
            worker.join()
    except (AttributeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"The functions or the space cannot be sent to another process: {error}. Define them in a module."
        ) from error
    errors = []
    while not told.empty():
        errors.append(told.get())
    if errors:
        raise type(errors[0])(str(errors[0]))
    broken = [str(worker.exitcode) for worker in workers if worker.exitcode]
    if len(broken) == processes and not interrupted:
        raise TrainingError(
            f"All {processes} processes ended with exit status {', '.join(broken)}; what they said stands above. A "
            'script that calls tune(processes=...) must do so under `if __name__ == "__main__":`.'
        )
    with quiet_optuna():
        job, place = opened()
        close_dead_trials(job.study)
        return _result(job, place, interrupted)


def _require_importable(role: str, function: Any) -> None:
    while hasattr(function, "func"):
        function = function.func
    name = getattr(function, "__qualname__", "")
    in_notebook = getattr(function, "__module__", "") == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    if "<" in name or in_notebook:
        raise ArgumentError(
            f"{role} ({name}) cannot be found by another process: with processes=... it must be defined in a module or "
            "at the top level of a script, not in a notebook, inside a function or as a lambda. Or leave processes "
            "out, and run the same script several times with the same storage."
        )


def _work(arguments: dict[str, Any], n_threads: int, told: Any) -> None:
    """Work on the study in a process of its own; an error goes to the one that started it."""
    torch.set_num_threads(n_threads)
    try:
        tune(**arguments)
    except KeyboardInterrupt:
        pass
    except ArgumentError as error:
        told.put(error)
    except TrainingError:
        pass  # no trial finished: the starter sees that itself, of all processes together
