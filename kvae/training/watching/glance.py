"""What the doctor says of a model that has just been trained."""

from concurrent.futures import ThreadPoolExecutor

from kvae.callbacks import MAX_ROWS, measure, size_of
from kvae.config import NO_SAMPLER
from kvae.data import MIN_SPLIT_ROWS
from kvae.data.rows import some_of
from kvae.errors import DEBUGGING
from kvae.evaluation import doctor
from kvae.evaluation.naming import of
from kvae.probability.streams import generator
from kvae.saying import is_silent, say

_LEAST_ROWS, _GLANCE_WEIGHTS = 20, 150_000_000  # of the doctor's look at one split


def consult(config, fitted):
    """Print what looks wrong with a trained model: a glance, which `evaluate.py` goes beyond.

    Nothing that goes wrong here is an error but for --debug: it is printed in place of a report.

    Args:
        config: all options.
        fitted: `kvae.training.run.Fitted`, with its dataset.
    """
    if not is_silent():
        say(_report(config, fitted))


def consulting(config, fitted):
    """As `consult`, but the look is taken by a thread while the model is published.

    Returns:
        What waits for it and prints, without arguments.
    """
    if is_silent():
        return lambda: None
    pool = ThreadPoolExecutor(1)
    report = pool.submit(_report, config, fitted)
    pool.shutdown(wait=False)
    return lambda: say(report.result())


def _report(config, fitted):
    rows = _rows_of_a_glance(fitted.vae, fitted.dataset)
    if rows < MIN_SPLIT_ROWS:
        return f"doctor    NO report: {rows} validation rows are too few"
    try:
        findings = _diagnosis(config, fitted, rows)
    except Exception as error:  # whatever it is, the training was not in vain
        if DEBUGGING.is_on:
            raise
        return f"doctor    NO report: {error}"
    words = f"doctor    on {rows} validation rows (kvae evaluate measures more)"
    return f"{words}\n{doctor.report(findings)}\n"


def causes_of_failure(config, vae, dataset, history):
    """What ended a training that leaves no weights to measure, in a line.

    Args:
        config: all options.
        vae: for the scale that it sees the data in.
        dataset: its rows as the model takes them.
        history: figure -> value of each epoch, of which some are not finite.
    """
    metrics = {"rms_x": size_of(vae, _some(config, dataset.train.x, MAX_ROWS))}
    found = doctor.diagnose(metrics, config=config.to_dict(), history=history)
    return " ".join(
        f"{one.problem}: {one.evidence} {one.advice}" for one in found if one.sure == "certain"
    )


def _rows_of_a_glance(vae, dataset):
    """How many rows of each split are looked at: fewer of larger models, for some seconds' work."""
    rows = max(_LEAST_ROWS, min(MAX_ROWS, _GLANCE_WEIGHTS // vae.count_params()))
    return min(rows, len(dataset.valid.x), len(dataset.train.x))


def _some(config, x, rows):
    return some_of(x, rows, generator(config.seed, "rows of a glance"))


def _diagnosis(config, fitted, rows):
    vae, dataset = fitted.vae, fitted.dataset
    metrics, of_train = (
        measure(vae, _some(config, x, rows), config.seed)
        for x in (dataset.valid.x, dataset.train.x)
    )
    # Those that say whether it is the training rows that it knows.
    names = {"elbo_nats_prior", "elbo_nats_prior_stderr", "mse_reconstruction"} & of_train.keys()
    metrics |= of("train", {name: of_train[name] for name in names})
    metrics["sampler"] = vae.sampler.kind if vae.has_sampler else NO_SAMPLER
    return doctor.diagnose(metrics, config=config.to_dict(), history=fitted.history)
