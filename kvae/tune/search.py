"""The trials of a search, one after another, until there are as many as are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from kvae import backend, workflow
from kvae.config import Config
from kvae.data import Dataset
from kvae.errors import DEBUGGING, KvaeError, UsageError, one_line
from kvae.saying import say
from kvae.tune import report
from kvae.tune.plan import Plan
from kvae.tune.study import FAILED, PRUNED, REFUSED, RUNNING, Row, Study

#: Trains: a run, its data, and a function that is given each epoch, from 0, with its figure of the
#: valid split, and says whether to end; gives `course["best"]` of `kvae.publish.publish`.
Trainer = Callable[[Config, Dataset, Callable[[int, float], bool]], Mapping[str, Any]]
LOGS = "logs"


def train(
    config: Config, dataset: Dataset, ends: Callable[[int, float], bool]
) -> Mapping[str, Any]:
    """Train and forget all but the best figure. See `Trainer`."""
    backend.use(config.backend)
    forgotten = backend.quiet_import("kvae.training.forgetting").forgotten
    reporting: Any = backend.quiet_import("kvae.tune.callback").Reporting(config, ends)
    with forgotten():
        vae: Any = workflow.run(config, dataset, publishes=False, callbacks=[reporting])
        best = dict(vae.trained.course.get("best", {}))
        vae = reporting = None
    return best


def search(
    plan: Plan, dataset: Dataset, folder: Path, wanted: int, *, prunes: bool = True,
    command: str = "", trainer: Trainer = train,
) -> list[Row]:  # fmt: skip
    """Make the trials that lack, and print a line for each and a table of the best.

    Args:
        plan: what the search is of.
        dataset: of all trials.
        folder: where it is kept, `saved/<name>/tuning`; it is there and can be written.
        wanted: trials in all.
        prunes: whether trials end early that are worse than most.
        command: what to type to go on.
        trainer: see `Trainer`.

    Returns:
        What is known of the trials, those of other processes too.

    Raises:
        UsageError: the folder holds a search of something else.
        DataError: what it holds is damaged.
        OSError, MemoryError: the machine lacks something; the trial counts for nothing.
        KvaeError: no trial has a figure.
    """
    # Schedules of other lengths do not compare on the way.
    prunes = prunes and "epochs" not in {one.name for one in plan.space}
    study = Study(folder, plan, plan.described(dataset))
    try:
        say(report.head(plan, folder, wanted, len(study.rows(wanted)), prunes=prunes), flush=True)
        _make_all(plan, dataset, study, folder, wanted, prunes=prunes, trainer=trainer)
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            print(report.summary(plan, study.rows(), folder))
            print(f"go on:     {command}", flush=True)
        raise
    finally:
        study.close()
    rows = study.rows()
    report.write(folder, plan, rows)
    print(report.summary(plan, rows, folder), flush=True)
    if report.best_of(plan, rows) is None:
        whys = [row.why for row in rows if row.why]
        raise KvaeError(f"no trial has a figure{f'; the last one: {whys[-1]}' if whys else ''}")
    return rows


def _make_all(plan, dataset, study, folder, wanted, *, prunes, trainer):
    while True:
        taken = study.take(wanted)
        if taken is None:
            return
        place, trial = taken
        try:
            _make(plan, dataset, study, folder, place, trial, prunes=prunes, trainer=trainer)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                study.end(trial)
            raise
        rows = study.rows()
        report.write(folder, plan, rows)
        say(report.line(plan, rows, place), flush=True)


def _make(plan, dataset, study, folder, place, trial, *, prunes, trainer):
    """Make one trial, and write down how it ended."""
    start = time.monotonic()
    told: dict[str, Any] = {}

    def ends(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        is_last = epoch + 1 == config.epochs
        told.update(epoch=epoch + 1, is_pruned=prunes and not is_last and trial.should_prune())
        return bool(told["is_pruned"])

    def end(value=None, **known):
        study.end(trial, value, seconds=round(time.monotonic() - start, 1), **known)

    values = _values(plan, place, trial)
    if place and (twin := _twin(study.rows(), values)):
        shared = {"epoch": twin.epoch, "why": twin.why, "same_as": twin.trial}
        shared |= {"state": twin.state} if twin.value is None else {}
        end(twin.value, is_pruned=twin.state == PRUNED, **shared)
        return
    try:
        config = plan.trial(values)
        with _logged(folder, place):
            best = trainer(config, dataset, ends)
        if told.get("is_pruned"):
            end(is_pruned=True, epoch=told["epoch"])
        elif best.get("figure") != plan.figure:
            end(state=FAILED, why=f"no epoch has a figure that compares ({_found(best)})")
        else:
            end(best["value"], epoch=best["epoch"])
    except (OSError, MemoryError):  # of the machine, not of the trial
        raise
    except UsageError as error:
        end(state=REFUSED, why=one_line(str(error)))
    except Exception as error:
        if DEBUGGING.is_on:
            raise
        kind = "" if isinstance(error, KvaeError) else f"{type(error).__name__}: "
        end(state=FAILED, why=one_line(f"{kind}{error}", 500))


def _twin(rows, values):
    """The trial that was made with the same values: training is a function of them."""
    made = (row for row in rows if row.state != RUNNING and row.same_as is None)
    return next((row for row in made if row.values == values), None)


def _found(best):
    return f"{best['figure']} alone, of a warm-up" if best else "none is finite"


def _values(plan, place, trial):
    """The values of the searched options; of the first trial those of a file: else the preset's."""
    if place:
        return plan.drawn(lambda one: one.suggest(trial))
    own = plan.own_values()
    for one in plan.space:  # so that what is proposed later knows of them
        if one.holds(own.get(one.name)):
            one.suggest(trial)
    return dict(plan.own)


@contextmanager
def _logged(folder, place):
    """What a training prints goes to a file of its own."""
    path = folder / LOGS / f"trial-{place}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield
