"""Drawn RGB faces: every picture is a function of known, independent factors.

With them, what a latent space has found can be held against what there was to find, and one factor
can be moved alone, which no photograph allows.
"""

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from kvae.data import Dataset, Split
from kvae.data.cache import cached_array
from kvae.data.cores import num_cores
from kvae.data.faces import drawing
from kvae.data.faces.factors import FACTORS, check_factors, describe_factors, sample_factors
from kvae.data.rows import slices
from kvae.errors import DataError, UsageError
from kvae.probability.streams import generator

__all__ = ["FACTORS", "attributes", "draw", "draw_batches", "load", "outline", "sample_factors"]

# Part of the cache's key: raise it with any change of the pixels or of the factors' distribution.
DRAWING_VERSION = 1
MIN_SIZE, MAX_SIZE = 32, 256
ROWS_PER_TASK = 128
# Below this starting processes costs more than it saves.
ROWS_FOR_PROCESSES = 2000
# Windows waits for no more at once.
_MAX_PROCESSES = 61
# 32 pictures of 64 pixels: the planes of a batch stay in the processor's cache.
PIXELS_PER_BATCH = 32 * 64 * 64


def draw(factors: Mapping[str, np.ndarray], image_size: int) -> np.ndarray:
    """Draw faces; the same factors give the same pixels, alone or in a batch.

    Args:
        factors: name -> `(count,)`, for each name of FACTORS, in its range.
        image_size: width and height in pixels, 32 to 256; a face looks alike at every size.

    Returns:
        uint8 `(count, image_size, image_size, 3)`, RGB.

    Raises:
        UsageError: a size or a factor that is not allowed.
    """
    _check_size(image_size)
    count = check_factors(factors)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for rows in slices(count, max(1, PIXELS_PER_BATCH // image_size**2)):
        images[rows] = drawing.draw(_take(factors, rows), image_size)
    return images


def draw_batches(
    factors: Mapping[str, np.ndarray], image_size: int, num_processes: int | None = None
) -> Iterator[np.ndarray]:
    """Draw many faces on all cores, in order.

    Args:
        factors: as for `draw`.
        image_size: as for `draw`.
        num_processes: processes that draw; 1 draws in this one, None chooses by count and cores.
            The pixels do not depend on it.

    Yields:
        uint8 `(up to 128, image_size, image_size, 3)`.
    """
    count = check_factors(factors)
    if num_processes is None:
        large = count >= ROWS_FOR_PROCESSES and _can_spawn()
        num_processes = min(num_cores(), _MAX_PROCESSES) if large else 1
    tasks = (_take(factors, rows) for rows in slices(count, ROWS_PER_TASK))
    if num_processes == 1:
        yield from (draw(task, image_size) for task in tasks)
    else:
        yield from _draw_in_processes(tasks, image_size, num_processes)


def _draw_in_processes(
    tasks: Iterator[dict[str, np.ndarray]], image_size: int, num_processes: int
) -> Iterator[np.ndarray]:
    # Spawned, because a forked copy of a process that runs TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, _end_with_parent)
    pending: deque[Future[np.ndarray]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(draw, task, image_size))
            if len(pending) > 2 * num_processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "the processes that draw faces ended: load them from a script whose work stands under "
            "`if __name__ == '__main__':`, as for every use of multiprocessing"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when its parent was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def attributes(factors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What CelebA's annotators would say of these faces, where it follows from the factors.

    Args:
        factors: name -> `(count,)`.

    Returns:
        CelebA's name of an attribute -> bool `(count,)`. Hair under a hat keeps its colour and
        shape; `No_Beard` means no hair on the face at all; `Wavy_Hair` includes curls.
    """
    colors = {value: _is(factors, "hair_color", value) for value in FACTORS["hair_color"].values}
    bald = _is(factors, "hair_shape", "bald")
    brown = colors["dark_brown"] | colors["light_brown"]
    combed = _is(factors, "hair_shape", "straight", "wavy", "bun", "pigtails")
    return {
        "5_o_Clock_Shadow": _is(factors, "beard", "stubble"),
        "Bald": bald,
        "Bangs": combed & (factors["fringe"] > 0.6),
        "Big_Nose": factors["nose_size"] > 0.7,
        "Black_Hair": colors["black"] & ~bald,
        "Blond_Hair": colors["blond"] & ~bald,
        "Brown_Hair": brown & ~bald,
        "Bushy_Eyebrows": factors["brow_weight"] > 0.7,
        "Eyeglasses": ~_is(factors, "glasses", "none"),
        "Goatee": _is(factors, "beard", "goatee"),
        "Gray_Hair": colors["gray"] & ~bald,
        "Mouth_Slightly_Open": factors["mouth_open"] > 0.2,
        "Mustache": _is(factors, "beard", "moustache", "goatee", "full"),
        "Narrow_Eyes": factors["eye_open"] < 0.25,
        "No_Beard": _is(factors, "beard", "none"),
        "Oval_Face": (factors["face_width"] < 0.5) & (factors["jaw"] < 0.5),
        "Pale_Skin": factors["skin_tone"] < 0.12,
        "Rosy_Cheeks": factors["blush"] > 0.7,
        "Smiling": factors["smile"] > 0.2,
        "Straight_Hair": _is(factors, "hair_shape", "straight"),
        "Wavy_Hair": _is(factors, "hair_shape", "wavy", "curly"),
        "Wearing_Earrings": _is(factors, "earrings", "yes"),
        "Wearing_Hat": ~_is(factors, "hat", "none"),
        "Wearing_Lipstick": factors["lip_color"] > 0.65,
    }


def load(
    *,
    image_size: int = 64,
    cache_dir: str | None = None,
    cache: bool = True,
    faces_seed: int = 0,
    faces_count: int = 20000,
) -> Dataset:
    """Load drawn faces; the first time they are drawn into the cache.

    The factors depend on the seed alone: other sizes show the same faces, and a smaller count the
    first of each split.

    Args:
        image_size: width and height in pixels, 32 to 256.
        cache_dir: where drawn images are kept; None for `cache.default_cache_dir()`.
        cache: False: draw into memory instead.
        faces_seed: which faces, 0 or more.
        faces_count: faces to train on, 1 or more; a tenth of it (at least one) each to validate
            and to test.

    Returns:
        Memory-mapped images `(rows, image_size, image_size, 3)`, uint8. Labels: the bool
        attributes, and the factors under their names after "factor_", float32 or int64.

    Raises:
        UsageError: an option out of its range.
        DataError: the cache cannot be written.
    """
    factors = _factors_of_splits(image_size, faces_seed, faces_count)
    rows = {name: np.concatenate([part[name] for part in factors.values()]) for name in FACTORS}
    shape = (len(rows["tilt"]), image_size, image_size, 3)
    key = {
        "name": "faces",
        "drawing_version": DRAWING_VERSION,
        "seed": faces_seed,
        "count": faces_count,
        "image_size": image_size,
    }
    x = cached_array(
        cache_dir,
        key,
        shape,
        lambda _: draw_batches(rows, image_size),
        describe="drawing",
        use_cache=cache,
    ).array
    return _dataset(x, factors, image_size, faces_seed)


def outline(
    *,
    image_size: int = 64,
    cache_dir: str | None = None,
    cache: bool = True,
    faces_seed: int = 0,
    faces_count: int = 20000,
) -> Dataset:
    """As `load`, with true labels, counts and shapes at once, but pixels that are all grey."""
    factors = _factors_of_splits(image_size, faces_seed, faces_count)
    count = sum(len(part["tilt"]) for part in factors.values())
    x = np.broadcast_to(np.uint8(128), (count, image_size, image_size, 3))
    return _dataset(x, factors, image_size, faces_seed)


def _factors_of_splits(
    image_size: int, faces_seed: int, faces_count: int
) -> dict[str, dict[str, np.ndarray]]:
    _check_size(image_size)
    if faces_seed < 0:
        raise UsageError(f"faces_seed must be 0 or more, got {faces_seed}")
    if faces_count < 1:
        raise UsageError(f"faces_count must be 1 or more, got {faces_count}")
    held_out = max(1, faces_count // 10)
    # A stream for each split: its first faces do not depend on how many the others have.
    return {
        "train": sample_factors(faces_count, generator(faces_seed, "faces train")),
        "valid": sample_factors(held_out, generator(faces_seed, "faces valid")),
        "test": sample_factors(held_out, generator(faces_seed, "faces test")),
    }


def _dataset(
    x: np.ndarray, factors: dict[str, dict[str, np.ndarray]], image_size: int, faces_seed: int
) -> Dataset:
    splits: dict[str, Split] = {}
    first = 0
    for name, part in factors.items():
        last = first + len(part["tilt"])
        labels = attributes(part) | {f"factor_{key}": value for key, value in part.items()}
        splits[name] = Split(x[first:last], labels)
        first = last
    card = {
        "name": "faces",
        "source": "drawn",
        "drawing_version": DRAWING_VERSION,
        "seed": faces_seed,
        "image_size": image_size,
        "crop": "none",
        "counts": {name: len(split.x) for name, split in splits.items()},
        "factors": describe_factors(),
    }
    return Dataset("images", **splits, card=card, color_by="Blond_Hair")


def _is(factors: Mapping[str, np.ndarray], name: str, *values: str) -> np.ndarray:
    wanted = [FACTORS[name].values.index(value) for value in values]
    return np.isin(factors[name], wanted)


def _take(factors: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {name: value[rows] for name, value in factors.items()}


def _check_size(image_size: int) -> None:
    if image_size != int(image_size) or not MIN_SIZE <= image_size <= MAX_SIZE:
        raise UsageError(
            f"faces are drawn at {MIN_SIZE} to {MAX_SIZE} pixels, got image size {image_size}"
        )


def _can_spawn() -> bool:
    # A spawned process begins by importing the main module, which a script read from standard
    # input does not allow.
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or file is None or Path(file).exists()
