"""What can be said against a training run within a second, before TensorFlow is imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvae import data, files, likelihoods, networks, priors
from kvae.config import Config
from kvae.data.conditions import conditions_of
from kvae.data.rows import check_spread
from kvae.errors import DataError, UsageError
from kvae.files import alone, strict_json, writable_folder
from kvae.likelihoods import accepts
from kvae.networks import check_shape
from kvae.options import flag
from kvae.priors import PRIORS, check_density
from kvae.samplers import SAMPLERS
from kvae.serving.versions import training_folder
from kvae.training.keeping import resume
from kvae.training.limits import check_memory, check_steps
from kvae.training.machines import cluster
from kvae.training.objects import OWN

WEIGHTS = (".keras", ".weights.h5", ".npz")
_LONGEST_LINE = 1_000_000  # bytes
LARGEST_FULL = 64  # dimensions of a full covariance


def check(
    config: Config, dataset: data.Dataset | None = None, *, dry_run: bool = False,
    going_on: bool | None = None,
) -> data.Dataset:  # fmt: skip
    """Look at the options, the folders and the outline of the data.

    Args:
        config: all options.
        dataset: the data, if they are there already.
        dry_run: whether nothing will be written.
        going_on: see `kvae.training.keeping.resume.find`.

    Returns:
        The data, or their `outline`.

    Raises:
        UsageError: an option does not fit the data, or a folder is missing or not writable.
        DataError: the dataset's files are not what they should be.
    """
    with config.telling_origins():
        machines = cluster.check(config, dry_run=dry_run)
    dry_run = dry_run or (machines is not None and not machines.is_chief)
    folder = training_folder(config.save, config.name)
    if not dry_run and files.exists(folder):
        with alone_in_folder(config):
            pass
    is_saved = not dry_run and resume.find(config, going_on, whole=False).is_saved
    with config.telling_origins():
        if config.init_from and not is_saved:  # else its checkpoint has the weights
            _check_start(Path(config.init_from))
        dataset = outline(config) if dataset is None else dataset
        _check(config, dataset)
    if not dry_run:
        writable_folder(folder, "--save")
    return dataset


def _check(config: Config, dataset: data.Dataset) -> None:
    condition_dim = conditions_of(dataset, config.condition).dim
    x = dataset.train.x
    check_shape(config.network, x.shape[1:])
    check_values(config, x[:1000])
    if config.standardize:
        _check_spread(config, dataset)
    if config.flip and x.ndim == 2:
        raise UsageError("--flip mirrors images; the rows of this dataset are vectors")
    if config.get("edge_weight", 0.0) and x.ndim == 2:
        raise UsageError("--edge-weight is for images; the rows of this dataset are vectors")
    check_density(PRIORS, config.prior, latent_dim(config, x))
    if config.sampler in SAMPLERS:
        check_density(SAMPLERS, config.sampler, latent_dim(config, x))
    _check_full_covariances(config, x)
    _check_devices(config, len(x))
    check_steps(config, len(x))
    check_memory(
        config, x.shape[1:], len(x), latent_dim=latent_dim(config, x), condition_dim=condition_dim
    )
    if len(x) < start_rows(config):
        raise UsageError(
            f"the prior {config.prior!r} starts each component at a row of its own: "
            f"{flag(priors.facts(config.prior).starts_at)} must be at most {len(x)}, the rows of "
            f"the train split; received {start_rows(config)}"
        )
    if config.log_json:
        check_log(Path(config.log_json))
    if config.tensorboard:
        _check_tensorboard(Path(config.tensorboard))


@contextmanager
def alone_in_folder(config: Config) -> Iterator[Path]:
    """`saved/<name>/training`, held by this process alone.

    Raises:
        UsageError: it cannot be written to, or another training holds it.
    """
    folder = training_folder(config.save, config.name)
    writable_folder(folder, "--save")
    busy = f"another training writes to {folder}: wait for it or choose another --name"
    with alone(folder / ".lock", busy):
        yield folder


def check_log(path: Path) -> None:
    """Refuse a file for --log-json that cannot be written, or holds something else.

    Raises:
        UsageError: it is one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            writable_folder(path.parent, "--log-json")
        elif path.is_file():
            with path.open("rb+") as file:
                first = file.readline(_LONGEST_LINE)
            if first and "event" not in line_of(first):
                raise UsageError(
                    f"--log-json adds lines to a file of such lines, or to a new one: {path} holds "
                    "something else"
                )
        elif path.is_dir():
            raise UsageError(f"--log-json names a file, received the folder {path}")
    except OSError as error:
        raise UsageError(
            f"--log-json: cannot write {path}: {error.strerror}; another file would do"
        ) from error


def _check_tensorboard(folder: Path) -> None:
    """Refuse --tensorboard without what writes its files, or where they cannot be written."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs TensorBoard, which is not installed: pip install -e "
            '".[tensorboard]"'
        )
    writable_folder(folder, "--tensorboard")


def line_of(line: bytes | str) -> dict[str, Any]:
    """What a line of --log-json says; nothing where it is none."""
    try:
        found = strict_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "event" in found else {}


def _check_start(path: Path) -> None:
    """Refuse what --init-from cannot be, by its name."""
    if not files.exists(path):
        raise UsageError(f"--init-from: no such file or folder: {path}")
    if files.is_file(path) and not path.name.endswith(WEIGHTS):
        raise UsageError(
            f"--init-from takes a published version (a folder) or a file that ends in "
            f"{' or '.join(WEIGHTS)}; received {path}"
        )


def _check_devices(config: Config, rows: int) -> None:
    """Refuse what several devices, or machines, do not compute as one does."""
    machines = cluster.read()
    count = config.devices if machines is None else len(machines.addresses)
    if count == 1:
        return
    named = f"{cluster.VARIABLE} has {count} tasks" if machines else f"--devices {count}"
    compares = [
        flag(name)
        for name, none in (("free_bits", 0), ("tc_weight", 1))
        if config.get(name, none) != none
    ]
    if networks.facts(config.network).normalises_by_batch:
        compares.append(f"--network {config.network}")
    if compares:
        raise UsageError(
            f"{named}: {' and '.join(compares)} compares the rows of a batch with one another, "
            "which one device alone sees together: --devices 1 is wanted"
        )
    if config.network == OWN:
        raise UsageError(
            f"{named}: networks and models of your own are on one device; made in the scope of a "
            "strategy of yours (tf.distribute.MirroredStrategy) they train on its devices, with "
            "devices left at 1"
        )
    batch = min(config.batch_size, rows)
    if batch % count:
        below = batch // count * count
        near = " or ".join(str(one) for one in (below, below + count) if 0 < one <= rows)
        few = f", with {rows} train rows" if rows < config.batch_size else ""
        such = f", such as {near}" if near else f", and there are fewer train rows than {count}"
        raise UsageError(
            f"{named}: they share each batch, so --batch-size must be a multiple of {count}{such}; "
            f"received {config.batch_size}{few}"
        )


def _check_full_covariances(config: Config, x) -> None:
    """A covariance of d dimensions costs d^2 numbers a row, in every layer that touches it."""
    sizes = {
        "--variance": (config.get("variance", ""), x.shape[-1], "heteroscedastic or per-feature"),
        "--posterior": (config.posterior, latent_dim(config, x), "diagonal"),
    }
    large = {
        option: (size, instead)
        for option, (chosen, size, instead) in sizes.items()
        if chosen == "full" and size > LARGEST_FULL
    }
    if not large:
        return
    named = " and ".join(f"{option} full" for option in large)
    found = " and ".join(str(size) for size in {size: 0 for size, _ in large.values()})
    would = ", ".join(f"{option} {instead}" for option, (_, instead) in large.items())
    raise UsageError(
        f"{named}: for at most {LARGEST_FULL} dimensions, these are {found}; {would} would do, or "
        "fewer columns and a smaller --latent-dim"
    )


def _check_spread(config: Config, dataset: data.Dataset) -> None:
    """Refuse constant columns where they would be divided by their spread."""
    by_name = dataset.card.get("source") != data.GIVEN_ARRAYS
    remedy = (
        "--drop-constant leaves such columns out, --no-standardize keeps them"
        if by_name and "drop_constant" in config.own("dataset")
        else ""
    )
    check_spread(dataset.train.x, dataset.card.get("columns"), remedy)


def start_rows(config: Config) -> int:
    """Rows of the data that the prior starts at, at least."""
    return config.get(priors.facts(config.prior).starts_at, 0)


def outline(config: Config) -> data.Dataset:
    """The configured dataset as far as it is known without making or decoding images."""
    options = config.own("dataset")
    found = data.outline(config.dataset, **options)
    if config.condition and not found.train.labels:
        # Where labels take a pass over all files, an outline has none.
        return data.load(config.dataset, **options)
    return found


def load(config: Config, found: data.Dataset | None = None) -> data.Dataset:
    """The configured dataset.

    Args:
        config: all options.
        found: what `check` looked at, which is not read twice where it is whole.

    Raises:
        DataError: it cannot be read, or a split is empty.
    """
    if found is not None and found.origin:
        dataset = found
    else:
        dataset = data.load(config.dataset, **config.own("dataset"))
    for name in ("train", "valid", "test"):
        if not len(getattr(dataset, name).x):
            raise DataError(f"the {name} split of {config.dataset} is empty")
    return dataset


def latent_dim(config: Config, x) -> int:
    """The dimensions of z: as configured, or as many as a vector has.

    Args:
        config: all options.
        x: some rows.

    Raises:
        UsageError: images, which say nothing about it, and none is configured.
    """
    if config.latent_dim:
        return config.latent_dim
    if x.ndim != 2:
        raise UsageError("--latent-dim must be at least 1 for images, received 0")
    return x.shape[1]


def check_values(config: Config, x) -> None:
    """Refuse data that the likelihood gives no probability.

    Args:
        config: all options.
        x: some rows.

    Raises:
        UsageError: there are values that the likelihood is not for.
    """
    if config.standardize and x.ndim != 2:
        raise UsageError("--standardize is for vectors; images are in [0, 1] as they are")
    if not accepts(config.likelihood, x):
        remedy = "; --binarize makes them" if "binarize" in config.own("dataset") else ""
        raise UsageError(
            f"--likelihood {config.likelihood} does not take the values of {config.dataset}: it is "
            f"for {likelihoods.facts(config.likelihood).takes}{remedy}"
        )
