"""Images per second of processor time: decoding into the cache, and reading it for training.

python benchmarks/image_loading.py [--data-dir DIR] [--rounds 3] [--images 3000]

Beside kvae's own path stand a plain Pillow loop (open, convert, crop, resize, one thread) and
keras.utils.image_dataset_from_directory, which keeps no cache: it decodes every epoch anew. All
run in this process, in turn, `rounds` times; the median of each and its ratio to kvae's are shown.
Processor time counts all threads of the process, so it does not depend on how many there are.
Without --data-dir the images are drawn noise as JPEGs of 178x218.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from kvae.data.cache import cached_array
from kvae.data.images.crops import CROPS
from kvae.data.images.files import open_files
from kvae.data.images.sets import ImageOptions, decoded

CROP, SIZE, BATCH = "center148", 64, 128
EPOCHS_OF_CACHE = 20


def drawn_images(folder, count):
    """Write JPEGs with some structure; return their folder."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:218, :178]
    for number in range(count):
        waves = np.stack([np.sin(x / a + b) + np.cos(y / a) for a, b in rng.uniform(3, 20, (3, 2))])
        image = 128 + 50 * waves.transpose(1, 2, 0) + rng.normal(0, 6, (218, 178, 3))
        image = np.clip(image, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:06d}.jpg", quality=90)
    return folder


def processor_seconds(function):
    """What a function took: processor seconds, wall seconds."""
    before, start = os.times(), time.perf_counter()
    function()
    after, wall = os.times(), time.perf_counter() - start
    return after.user + after.system - before.user - before.system, wall


def decode_kvae(files, paths):
    """As the cache is built, without writing."""
    options = ImageOptions(crop=CROP, image_size=SIZE)
    contents = (lambda path=path: files.read(path) for path in paths)
    return sum(map(len, decoded(contents, {}, options, paths, 0)))


def decode_pillow(files, paths):
    """What a user would write."""
    images = []
    for path in paths:
        image = Image.open(io.BytesIO(files.read(path))).convert("RGB").crop(CROPS[CROP])
        images.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return len(images)


def decode_keras(folder, count):
    """One epoch of Keras's own loader; it cannot crop first, so it resizes the whole image."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        str(folder), labels=None, image_size=(SIZE, SIZE), batch_size=BATCH, shuffle=True, seed=0,
        crop_to_aspect_ratio=True, verbose=False,
    )  # fmt: skip
    for batch in dataset:
        count -= len(batch)


def read_cache(x, epochs):
    """Epochs of shuffled batches, as training reads them."""
    from kvae.data.pipeline import shuffled_batches

    steps = len(x) // BATCH * epochs
    for _ in shuffled_batches(x, BATCH, 0).take(steps):
        pass
    return steps * BATCH


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="a folder with 178x218 JPEGs somewhere below")
    parser.add_argument("--rounds", type=int, default=3, help="times each is run")
    parser.add_argument("--images", type=int, default=3000, help="how many, at most")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        if arguments.data_dir is None:
            drawn_images(images, arguments.images)
        else:
            source = open_files(Path(arguments.data_dir))
            for number, path in enumerate(source.with_suffix(".jpg")[: arguments.images]):
                (images / f"{number:06d}.jpg").symlink_to(source.root.resolve() / path)
        files = open_files(images)
        paths = list(files.stamps)
        cache = cached_array(
            folder, {"name": "bench"}, (len(paths), SIZE, SIZE, 3),
            lambda left_out: decoded(
                (lambda path=path: files.read(path) for path in paths), left_out,
                ImageOptions(crop=CROP, image_size=SIZE), paths, 0,
            ),
            describe="cache",
        ).array  # fmt: skip
        methods = {
            "decode, kvae": (lambda: decode_kvae(files, paths), len(paths)),
            "decode, plain Pillow loop": (lambda: decode_pillow(files, paths), len(paths)),
            "epoch, image_dataset_from_directory": (
                lambda: decode_keras(images, len(paths)), len(paths),
            ),
            "epoch, kvae from its cache": (
                lambda: read_cache(cache, EPOCHS_OF_CACHE),
                len(paths) // BATCH * BATCH * EPOCHS_OF_CACHE,
            ),
        }  # fmt: skip
        for function, _ in methods.values():
            function()  # imports, graphs and the page cache
        found = {name: [] for name in methods}
        for _ in range(arguments.rounds):
            for name, (function, count) in methods.items():
                seconds, wall = processor_seconds(function)
                found[name].append((count / seconds, count / wall))
    ours = statistics.median(speed for speed, _ in found["decode, kvae"])
    print(f"{len(paths):,} images, {arguments.rounds} rounds, medians\n")
    print(f"{'':38}{'per CPU-second':>16}{'per second':>14}{'to kvae decode':>16}")
    for name, speeds in found.items():
        cpu, wall = (statistics.median(values) for values in zip(*speeds, strict=True))
        print(f"{name:38}{cpu:16,.0f}{wall:14,.0f}{cpu / ours:16.2f}")


if __name__ == "__main__":
    main()
