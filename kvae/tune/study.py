"""The trials of a search as Optuna keeps them, for this process and for others beside it.

`saved/<name>/tuning/journal.log` holds them. A trial has a place, from 0 to the last one that is
wanted; where its process was killed another trial takes the place, with the same proposal if the
trials before it are the same. A process holds a lock while it lives: that is how the others know.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from kvae import files
from kvae.config import Config
from kvae.errors import DataError, UsageError, brief, one_line
from kvae.probability.streams import generator
from kvae.tune.plan import Plan

JOURNAL, _TURN, _WRITING = "journal.log", ".lock", ".journal.lock"
DONE, PRUNED, REFUSED, FAILED, RUNNING = "done", "pruned", "refused", "failed", "running"
_PLACE, _WORKER, _STATE, _INTERRUPTED = "place", "worker", "state", "interrupted"
_NAME = _DESCRIBED = "kvae"  # of the study in the journal, and of its attribute
_MOST_DEATHS = 3  # of processes at one place: then it is the trial that kills them
_STARTUP = 5  # trials to their end before any is pruned


class Row(NamedTuple):
    """What is known of one trial.

    Args:
        trial: its place, from 0; 0 is the preset's own.
        state: DONE, PRUNED, REFUSED, FAILED or RUNNING.
        values: searched option -> value, of those that it has.
        value: of the figure; None: none.
        epoch: from 1, of that figure; of a pruned trial the one that it ended with.
        seconds: that it took.
        why: there is no figure, in words.
        same_as: an earlier trial with the same values, which was not made again.
    """

    trial: int
    state: str
    values: dict[str, Any]
    value: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    why: str = ""
    same_as: int | None = None


class Study:
    """A search that is kept in a folder.

    Args:
        folder: `saved/<name>/tuning`; it is there and can be written.
        plan: what the search is of.
        described: see `Plan.described`.

    Raises:
        UsageError: the folder holds a search of something else, or has no locks.
        DataError: the journal is damaged.
    """

    def __init__(self, folder: Path, plan: Plan, described: Mapping[str, Any]) -> None:
        self._folder, self._plan = folder, plan
        self._worker = f".worker-{uuid.uuid4().hex[:12]}.lock"
        self._held = ExitStack()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self._turn():
            self._study = self._opened()
            _check_same(self._study, json.loads(json.dumps(described)), folder)
        self._held.enter_context(files.alone(folder / self._worker))
        if self._is_dead(self._worker):
            self.close()
            raise UsageError(
                f"{folder} is on a file system without locks, by which processes know of one "
                "another; --save names another folder"
            )

    def close(self) -> None:
        """Let go of what says that this process lives."""
        self._held.close()
        (self._folder / self._worker).unlink(missing_ok=True)

    def take(self, wanted: int) -> tuple[int, Trial] | None:
        """The next place that nobody works on and its trial, or None where there is none.

        Args:
            wanted: trials in all.
        """
        with self._turn():
            trials = self._trials_by_place()
            for place in range(wanted):
                if _state_of(trials.get(place, [])) is None:
                    return place, self._begun(place)
        return None

    def end(
        self, trial: Trial, value: float | None = None, *, is_pruned: bool = False, **known: Any
    ) -> None:
        """Write down how a trial ended.

        Args:
            trial: of `take`.
            value: of the figure; None: there is none.
            is_pruned: whether it ended before its last epoch because others were better.
            **known: fields of `Row`: `epoch`, `seconds`, `state`, `why`, `same_as`. Without any of
                them the place is free again: it was interrupted.
        """
        with self._turn():
            for name, what in (known or {_INTERRUPTED: True}).items():
                trial.set_user_attr(name, what)
            state = TrialState.COMPLETE if value is not None else TrialState.FAIL
            state = TrialState.PRUNED if is_pruned else state
            self._study.tell(trial, value if state == TrialState.COMPLETE else None, state)

    def rows(self, wanted: int | None = None) -> list[Row]:
        """What is known, by place; places that are free are left out.

        Args:
            wanted: trials in all; None: as many as there are.
        """
        with self._turn():
            trials = self._trials_by_place()
        found = [_row(place, trials[place], self._plan) for place in sorted(trials)]
        return [row for row in found if row and (wanted is None or row.trial < wanted)]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with files.alone(self._folder / _TURN):
            yield

    def _opened(self) -> optuna.Study:
        path = self._folder / JOURNAL
        lock = _Lock(self._folder / _WRITING, path)
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            pruner = pruner_of(self._plan.start)
            with suppress(KeyError):
                return optuna.load_study(storage=storage, study_name=_NAME, pruner=pruner)
            return optuna.create_study(
                storage=storage, study_name=_NAME, pruner=pruner,
                direction="maximize" if self._plan.figure == "elbo" else "minimize",
            )  # fmt: skip
        except OSError:
            raise
        except Exception as error:  # whatever its reader stumbles over
            raise DataError(
                f"{path} is no journal of Optuna: {type(error).__name__}: "
                f"{one_line(str(error), 100)}; another --name starts a search of its own"
            ) from error

    def _begun(self, place: int) -> Trial:
        """A trial at a place: the preset's own values at the first, else what is proposed."""
        seed = int(generator(self._plan.start.seed, "trials").integers(2**32, size=place + 1)[-1])
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if place == 0 and not waiting:  # else it is of a process that was killed here
            own = self._plan.own_values()
            kept = [one for one in self._plan.space if one.holds(own.get(one.name))]
            self._study.enqueue_trial({one.name: one.stored(own[one.name]) for one in kept})
        trial = self._study.ask()
        trial.set_user_attr(_WORKER, self._worker)
        trial.set_user_attr(_PLACE, place)
        return trial

    def _trials_by_place(self) -> dict[int, list[FrozenTrial]]:
        """All trials, after those whose process is gone are ended."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_dead(trial.user_attrs.get(_WORKER, "")):
                self._study.tell(trial.number, state=TrialState.FAIL)
        found: dict[int, list[FrozenTrial]] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if _PLACE in trial.user_attrs:
                found.setdefault(trial.user_attrs[_PLACE], []).append(trial)
        return found

    def _is_dead(self, worker: str) -> bool:
        path = self._folder / worker
        if not (worker and path.exists()):
            return True
        try:
            with files.alone(path, "it lives"):
                pass
        except UsageError:
            return False
        if worker != self._worker:
            path.unlink(missing_ok=True)
        return True


class _Lock:
    """What Optuna asks before it writes; unlike its own locks it goes with the process.

    Each time it cuts off half a line that a killed process or a full disk left: what is written
    behind that could not be read.
    """

    def __init__(self, path: Path, journal: Path) -> None:
        self._path, self._journal, self._held = path, journal, ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(files.alone(self._path))
        try:
            _mend(self._journal)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        self._held.close()


def pruner_of(config: Config) -> Any:
    """Who says when a trial ends early: the median of the others, after a quarter of the epochs."""
    return optuna.pruners.MedianPruner(
        n_startup_trials=_STARTUP, n_warmup_steps=max(1, config.epochs // 4),
        n_min_trials=_STARTUP,
    )  # fmt: skip


def _mend(path: Path) -> None:
    """Cut off half a line at the end of a file."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _check_same(study: optuna.Study, described: Mapping[str, Any], folder: Path) -> None:
    """Write down what a search is of, or refuse to go on with one of something else."""
    before = study.user_attrs.get(_DESCRIBED)
    if before is None:
        study.set_user_attr(_DESCRIBED, described)
        return
    differences = [
        f"{name} {_said(before, name)}, now {_said(described, name)}"
        for name in {**before, **described}
        if before.get(name) != described.get(name) or (name in before) != (name in described)
    ]
    if differences:
        raise UsageError(
            f"{folder} holds another search: {'; '.join(differences)}; another --name starts one "
            "of its own"
        )


def _said(described: Mapping[str, Any], name: str) -> str:
    return brief(described[name]) if name in described else "none"


def _state_of(trials: list[FrozenTrial]) -> str | None:
    """The state of a place, of the trials there; None: it is free."""
    ended = {TrialState.COMPLETE: DONE, TrialState.PRUNED: PRUNED, TrialState.RUNNING: RUNNING}
    for trial in trials:
        state: str | None = ended.get(trial.state, trial.user_attrs.get(_STATE))
        if state is not None:
            return state
    return FAILED if _deaths(trials) >= _MOST_DEATHS else None


def _deaths(trials: list[FrozenTrial]) -> int:
    """How often the process of a trial at a place was killed."""
    return sum(
        trial.state == TrialState.FAIL and not trial.user_attrs.keys() & {_STATE, _INTERRUPTED}
        for trial in trials
    )


def _row(place: int, trials: list[FrozenTrial], plan: Plan) -> Row | None:
    """What is known of a place; None: it is free."""
    state = _state_of(trials)
    if state is None:
        return None
    last = trials[-1]
    killed = f"its process was killed {_deaths(trials)} times, perhaps for want of memory"
    why = last.user_attrs.get("why", "") if _deaths(trials) < _MOST_DEATHS else killed
    values = plan.own_values() if place == 0 else _values(last, plan)
    known = last.user_attrs.get
    return Row(
        place, state, values, last.value, known("epoch"), known("seconds"), why,
        known("same_as"),
    )  # fmt: skip


def _values(trial: FrozenTrial, plan: Plan) -> dict[str, Any]:
    """Searched option -> value, of an Optuna trial."""
    found = {}
    for one in plan.space:
        if one.name in trial.params:
            kept = trial.params[one.name]
            found[one.name] = next(
                (value for value in getattr(one, "values", ()) if one.stored(value) == kept), kept
            )
    return found
