"""What python -m kvae.publish does."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kvae import backend, files
from kvae.data.images.crops import WANTED, is_crop
from kvae.errors import DataError, KvaeError, UsageError, one_line
from kvae.files import FOLDER_NAME, is_folder_name
from kvae.publish import publish, repository
from kvae.serving import versions

_HEAD = ("model", "version", "published", "dataset", "latents", "sampler", "MB")
_LONGEST_LINK = 60  # characters of its target that a list shows


def from_keras(
    file: str,
    *,
    name: str,
    save: str,
    like: str | None = None,
    crop: str | None = None,
    binarize: bool = False,
) -> None:
    """Publish a `.keras` file.

    Args:
        file: of a `kvae.VAE`.
        name: of the model.
        save: the repository.
        like: a version whose configuration, data card and condition hold for this model too; None:
            those of the version that the file belongs to, if it does.
        crop: what is kept of the images that `encode_bytes` is given, where there is no version.
        binarize: whether it makes them black and white, where there is no version.

    Raises:
        UsageError: the file is no model of kvae, does not fit `like`, or the repository cannot be
            written.
    """
    path = Path(file)
    if not files.is_file(path):
        raise UsageError(f"no such file: {path}")
    if not is_folder_name(name):
        raise UsageError(f"--name must be {FOLDER_NAME}; received {name!r}")
    if crop is not None and not is_crop(crop):
        raise UsageError(f"--crop takes {WANTED}; received {crop!r}")
    own = path.resolve().parent.parent
    belongs = path.name == versions.KERAS_MODEL.name and (own / versions.METADATA).is_file()
    source = like or (str(own) if belongs else None)
    metadata: dict[str, Any] = {}
    if source:
        if crop is not None:
            raise UsageError(f"--crop is that of {source}: it cannot be chosen")
        if binarize:
            raise UsageError(f"--binarize is that of {source}: it cannot be chosen")
        metadata = versions.read_metadata(versions.find_version(source))
    backend.quiet_import("tensorflow")
    from kvae.build import load_model
    from kvae.directions import Directions

    vae = load_model(path)
    own_card = {"crop": crop, "binarize": binarize}
    card = metadata.get("data_card", {key: value for key, value in own_card.items() if value})
    _check_like(vae, metadata, source)
    # Directions were fitted to one encoder's latents.
    directions = metadata.get("directions") if not like else None
    version = publish(
        vae, save, name,
        config=metadata.get("config", {}), card=card,
        history={} if like else metadata.get("history", {}),
        directions=Directions.from_json(directions) if directions else None,
        condition=metadata.get("condition"),
    )  # fmt: skip
    print(f"published {version.path}")


def _check_like(vae: Any, metadata: dict[str, Any], source: str | None) -> None:
    if not metadata:
        return
    then = metadata["model"]["element_shape"], len(metadata.get("condition", {}).get("names", ()))
    now = list(vae.element_shape), vae.condition_dim
    if then != now:
        raise UsageError(
            f"the model takes x of shape {now[0]} and {now[1]} numbers of condition, that of "
            f"{source} {then[0]} and {then[1]}"
        )


def list_versions(save: str) -> None:
    """Print every version below `saved` or `saved/<name>`, those that are damaged too."""
    rows: list[tuple[str, ...]] = [_HEAD]
    rows += [_row(version, fault) for version, fault in _numbered_below(Path(save))]
    whole = [row for row in rows if len(row) == len(_HEAD)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[:2] = [max(len(row[place]) for row in rows) for place in (0, 1)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print("  ".join(cells).rstrip())


def _row(version: versions.Version, fault: str) -> tuple[str, ...]:
    """A version's line; of one that is damaged name, number and why."""
    number = str(version.number)
    if version.path.is_symlink():
        number += f" (link to {one_line(str(version.path.readlink()), _LONGEST_LINK)})"
    try:
        if fault:
            raise DataError(fault)
        metadata = versions.read_metadata(version)
        size = sum(path.stat().st_size for path in version.path.rglob("*") if path.is_file())
    except (KvaeError, OSError) as error:
        why = str(error).removeprefix(f"{version.path / versions.METADATA} is damaged: ")
        return one_line(version.name), number, f"damaged: {one_line(why, 200)}"
    if "rolled_back_to" in metadata:
        number += f" (is {metadata['rolled_back_to']} again)"
    return (
        one_line(version.name),
        number,
        one_line(metadata["published"].replace("T", " ").removesuffix("+00:00"), 40),
        one_line(str(metadata["data_card"].get("name", "")), 40),
        str(metadata["model"]["latent_dim"]),
        one_line(metadata["sampler"], 40),
        f"{size / 1e6:.1f}",
    )


def _numbered_below(path: Path) -> list[tuple[versions.Version, str]]:
    """Versions and what keeps folders from being one, of `saved/<name>` or of all models."""
    if not files.is_folder(path):
        raise UsageError(f"no such folder: {path}")
    found = versions.numbered(path)
    if not found:
        for model in sorted(path.iterdir()):
            with suppress(UsageError):  # it may not be looked into
                found += versions.numbered(model)
    if not found:
        raise UsageError(f"no published model in {path}: expected {path}/<name>/<number>/")
    return found


def verify(model: str) -> None:
    """Verify the version that `model` names.

    Raises:
        DataError: it is not what was published.
    """
    version = versions.find_version(model)
    from kvae.publish.verification import verify

    faults = verify(version)
    if faults:
        raise DataError(f"{version.path} is not as it was published: {'; '.join(faults)}")
    count = len(versions.read_metadata(version)["signatures"])
    print(f"{version.path}: files, fingerprint, {count} signatures and their answers as published")


def _given(model: str) -> Path:
    """A model's folder by its name in `saved/`, wherever a link may lead, and whatever `.` is."""
    path = Path(model).absolute()
    if not files.is_folder(path):
        raise UsageError(f"no such folder: {model}")
    if not versions.versions(path):
        raise UsageError(f"no versions in {model}: saved/NAME is wanted")
    return path


def prune(model: str, *, keep: int) -> None:
    """Remove all but the newest `keep` versions of `saved/<name>`."""
    folder = _given(model)
    removed = repository.prune(folder, keep)
    for version in removed:
        print(f"removed {version.path}")
    if not removed:
        kept = len(versions.versions(folder))
        print(f"nothing to remove: {kept} version{'s' if kept > 1 else ''}, the newest or pinned")


def roll_back(model: str, *, to: int) -> None:
    """Publish version `to` of `saved/<name>` again, as the newest."""
    found = {version.number: version for version in versions.versions(_given(model))}
    if to not in found:
        raise UsageError(
            f"--to: no version {to} in {model}, which has {', '.join(map(str, found))}"
        )
    version = repository.roll_back(found[to])
    print(f"published {version.path}, a copy of version {to}")
    served = repository.served_alone(version)
    if served:
        print(
            f"note: models.config has the server keep to {', '.join(map(str, served))}: name "
            f"{version.number} there",
            file=sys.stderr,
        )


def config(save: str, *, root: str | None) -> None:
    """Write `saved/models.config` anew."""
    if not files.is_folder(save):
        raise UsageError(f"no such folder: {save}")
    path = repository.update_models_config(Path(save), root)
    print(f"{path}:\n{path.read_text(encoding='utf-8')}", end="")


COMMANDS: dict[str, Callable[..., None]] = {
    "from-keras": from_keras, "list": list_versions, "verify": verify, "prune": prune,
    "rollback": roll_back, "config": config,
}  # fmt: skip
