"""Memory and start of a training that reads a cache as large as CelebA's.

python benchmarks/image_memory.py [--images 202599] [--folder DIR]

A cache of random pixels (64x64, 2.5 GB) is built as every other one; then a process of its own
opens it and trains a tiny model for one epoch, in batches of 128. Shown: the peak of its anonymous
memory (RssAnon: file pages of the map do not count), beside that before the first batch; the time
from TensorFlow's import to the first batch; whether the order of two epochs differs and that of two
runs with one seed is equal.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZE, BATCH = 64, 128
TRAIN = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import keras, tensorflow as tf
import kvae
from kvae.data.cache import cached_array
from kvae.data.pipeline import shuffled_batches

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith("RssAnon")) / 1e6

peak, done = [anonymous()], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], anonymous())

count, size, batch = int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
imported = anonymous()
start = time.perf_counter()
x = cached_array(sys.argv[2], {"name": "memory"}, (count, size, size, 3), None, describe="").array
dataset = shuffled_batches(x, batch, seed=0, flip=True)
first = next(iter(dataset))
print(f"first batch after {time.perf_counter() - start:.2f} s")
threading.Thread(target=watch, daemon=True).start()
vae = kvae.build_vae((size, size, 3), latent_dim=2, network="mlp", hidden_units=(4,))
vae.compile(keras.optimizers.Adam(1e-3))
begun = time.perf_counter()
vae.fit(dataset, steps_per_epoch=count // batch, epochs=1, verbose=0)
seconds = time.perf_counter() - begun
done.set()
print(f"anonymous memory {imported:.2f} GB after the imports, peak {peak[0]:.2f} GB in an epoch")
print(f"{count:,} images trained on in {seconds:.0f} s")
few = x[:1000]
def order(seed, epoch):
    steps = len(few) // batch
    batches = shuffled_batches(few, batch, seed).skip(epoch * steps).take(steps)
    return [b.numpy().tobytes() for b in batches]
print("two epochs have different orders:", order(0, 0) != order(0, 1))
print("two runs with one seed have one order:", order(0, 1) == order(0, 1))
"""


def build(folder, count):
    """Random pixels, a batch at a time."""
    from kvae.data.cache import cached_array

    def batches(left_out):
        rng = np.random.default_rng(0)
        for start in range(0, count, 1024):
            yield rng.integers(0, 256, (min(1024, count - start), SIZE, SIZE, 3), np.uint8)

    cached_array(
        str(folder), {"name": "memory"}, (count, SIZE, SIZE, 3), batches, describe="building"
    )


def main():
    """Build and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=202_599, help="how many")
    parser.add_argument("--folder", help="where the cache is built (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        build(folder, arguments.images)
        child = [sys.executable, "-c", TRAIN, str(ROOT), folder]
        sizes = [str(value) for value in (arguments.images, SIZE, BATCH)]
        subprocess.run([*child, *sizes], check=True)


if __name__ == "__main__":
    main()
