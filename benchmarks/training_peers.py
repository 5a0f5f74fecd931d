"""A training step of kvae beside those of other libraries: one network, one machine, in turn.

    python benchmarks/training_peers.py --peers ../peers/bin/python
    python benchmarks/training_peers.py --peers ../peers/bin/python --network resnet --cores 1

Trains the network of the student report, or another of kvae's for images, on 64x64 images: kvae's
whole `fit` on its pipeline, kvae's layers in a bare step, the same network of plain Keras layers
without kvae, pythae's trainer, and plain PyTorch loops. `--peers` is the interpreter of an
environment with torch and pythae (`pip install torch pythae`); without it the interpreter in use is
asked, and who cannot be imported is left out. Each contestant is a process that has compiled and
warmed up before the rounds begin. A round asks one after the other for so many steps; beside
medians and minima of wall and of processor time stands the ratio to kvae of the same precision, the
median over rounds. KERAS_BACKEND=jax has kvae train under JAX, on a GPU if there is one; the
contestants that are TensorFlow's are left out then.

The ceilings, measured in the same rounds, are products of 2048x2048 matrices and 3x3 convolutions
of 64 channels at 32x32, both float32 by the backend of kvae. A step's work is counted from the
shapes of the kernels: the pass forward, and the gradients by weights and by inputs.

`--data` is a folder of images, cropped to squares; without it random images are used, which take as
long. `--json` writes all that was measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
LATENT_DIM, VARIANCE, SIZE, LEARNING_RATE = 50, 0.1, 64, 1e-3
NETWORKS = ("conv", "conv-large", "resnet")
WARM_UP = 3  # steps


# Contestants: each makes a function that trains so many steps, and says what it knows of itself.


def kvae_fit(given, precision):
    """The whole `fit` of kvae, pipeline, step, metrics, callbacks of Keras: a round is an epoch.

    The rounds are epochs of one fit, which waits between them, as a training has many. A batch is
    made in less time than a step: the buffer of the pipeline is full when a round begins and ends.
    """
    vae = _vae(given, precision)  # imports kvae before TensorFlow, as programs do

    import keras

    from kvae.data.pipeline import shuffled_batches

    vae.compile(keras.optimizers.Adam(LEARNING_RATE), jit_compile=_backend() == "jax")
    batches = shuffled_batches(np.load(given.file), given.batch, seed=0)
    go, done, failed = threading.Semaphore(0), threading.Semaphore(0), []

    class Rounds(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            go.acquire()

        def on_epoch_end(self, epoch, logs=None):
            done.release()

    def fit():
        try:
            vae.fit(
                batches, steps_per_epoch=given.steps, epochs=10**9, verbose=0, start_prior=False,
                calibrate=False, callbacks=[Rounds()],
            )  # fmt: skip
        except Exception as error:
            failed.append(error)
            done.release()

    threading.Thread(target=fit, daemon=True).start()

    def steps(count):
        go.release()
        done.acquire()
        if failed:
            raise failed[0]

    return steps, {"gflop": _gflop(vae, given.batch), "parameters": vae.count_params()}


def bare(given, precision):
    """kvae's layers in a step of a few lines, on batches that are in memory."""
    vae = _vae(given, precision)
    return _bare_steps(given, vae.encoder, vae.decoder), {}


def plain_keras(given, precision):
    """The network of the report as one writes it in Keras, in the same bare step, without kvae."""
    import keras

    keras.utils.set_random_seed(0)
    layers, dtype = keras.layers, {"dtype": _policy(precision)}
    relu = {"activation": "relu", **dtype}
    encoder = [keras.Input((SIZE, SIZE, 3))]
    for filters in (32, 32, 64, 64):
        encoder.append(layers.Conv2D(filters, 4, 2, "same", **relu))
    encoder += [layers.Flatten(), layers.Dense(256, **relu)]
    encoder.append(layers.Dense(2 * LATENT_DIM, dtype="float32"))
    decoder = [keras.Input((LATENT_DIM,)), layers.Dense(256, **relu), layers.Dense(1024, **relu)]
    decoder.append(layers.Reshape((4, 4, 64)))
    for filters in (64, 32, 32):
        decoder.append(layers.Conv2DTranspose(filters, 4, 2, "same", **relu))
    decoder.append(layers.Conv2DTranspose(3, 4, 2, "same", dtype="float32"))
    return _bare_steps(given, keras.Sequential(encoder), keras.Sequential(decoder)), {}


def _bare_steps(given, encoder, decoder):
    import keras
    import tensorflow as tf

    adam = keras.optimizers.Adam(LEARNING_RATE)
    weights = encoder.trainable_variables + decoder.trainable_variables
    adam.build(weights)
    x = tf.constant(np.load(given.file))

    @tf.function
    def step(rows):
        rows = tf.cast(rows, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            mean, variance = tf.split(encoder(rows, training=True), 2, axis=1)
            variance = tf.nn.softplus(variance) + 1e-6
            latent = mean + tf.sqrt(variance) * tf.random.normal(tf.shape(mean))
            shown = decoder(latent, training=True)
            errors = tf.reduce_sum(tf.square(rows - shown), axis=(1, 2, 3))
            rate = tf.square(mean) + variance - tf.math.log(variance) - 1
            loss = tf.reduce_mean(errors / (2 * VARIANCE) + tf.reduce_sum(rate, axis=1) / 2)
        adam.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def steps(count):
        for number in range(count):
            first = number * given.batch % (len(x) - given.batch + 1)
            loss = step(x[first : first + given.batch])
        float(loss)  # waits for the last one

    return steps


def pythae(given, precision):
    """pythae's trainer: its loader, its loss, its optimizer."""
    from torch_peers import pythae_trainer, torch_networks

    x = np.load(given.file)[: given.steps * given.batch]
    x = x.transpose(0, 3, 1, 2).astype("float32") / 255
    folder = tempfile.mkdtemp()  # pythae writes nothing there before the end of a training
    networks = torch_networks(given.network, LATENT_DIM)
    trainer = pythae_trainer(networks, x, given.batch, folder, amp=precision != "float32")
    # An epoch is as many steps as a round asks for; the warm-up takes one too.
    return lambda count: trainer.train_step(1), {}


def torch_loop(given, precision, *, channels_last=False, compiled=False):
    """A plain PyTorch loop over rows that are in memory."""
    import torch
    from torch_peers import torch_loss, torch_networks

    place = "cuda" if torch.cuda.is_available() else "cpu"
    layout = {"memory_format": torch.channels_last} if channels_last else {}
    torch.manual_seed(0)
    parts = torch.nn.ModuleList(torch_networks(given.network, LATENT_DIM)).to(place, **layout)
    x = torch.from_numpy(np.load(given.file)).permute(0, 3, 1, 2).contiguous(**layout).to(place)
    loss_of = torch_loss(*parts, VARIANCE, place, getattr(torch, precision))
    if compiled:
        loss_of = torch.compile(loss_of)
    adam = torch.optim.Adam(parts.parameters(), LEARNING_RATE)

    def steps(count):
        for number in range(count):
            first = number * given.batch % (len(x) - given.batch + 1)
            adam.zero_grad(set_to_none=True)
            loss_of(x[first : first + given.batch]).backward()
            adam.step()
        if place == "cuda":
            torch.cuda.synchronize()

    return steps, {"parameters": sum(weight.numel() for weight in parts.parameters())}


def gemm(given, precision):
    """Products of 2048x2048 matrices."""
    import keras

    a = keras.random.normal((2048, 2048), seed=0)
    return lambda count: [_done(a @ a) for _ in range(count)], {"gflop": 2 * 2048**3 / 1e9}


def convolution(given, precision):
    """3x3 convolutions of 64 channels at 32x32, 32 images."""
    import keras

    x = keras.random.normal((32, 32, 32, 64), seed=0)
    kernel = keras.random.normal((3, 3, 64, 64), seed=1)
    work = 2 * 32 * 32 * 32 * 9 * 64 * 64 / 1e9
    return (
        lambda count: [_done(keras.ops.conv(x, kernel, padding="same")) for _ in range(count)],
        {"gflop": work},
    )


def _done(tensor):
    return float(tensor[(0,) * len(tensor.shape)])


FLOAT32, BFLOAT16 = "float32", "bfloat16"
#: Name -> (what makes it, precision, whether it runs in the environment of the peers, its options).
CONTESTANTS = {
    "kvae": (kvae_fit, FLOAT32, False, {}),
    "bare step of kvae's layers": (bare, FLOAT32, False, {}),
    "Keras without kvae": (plain_keras, FLOAT32, False, {}),
    "pythae's trainer": (pythae, FLOAT32, True, {}),
    "PyTorch": (torch_loop, FLOAT32, True, {}),
    "PyTorch, channels_last": (torch_loop, FLOAT32, True, {"channels_last": True}),
    "PyTorch, compiled": (torch_loop, FLOAT32, True, {"channels_last": True, "compiled": True}),
    "kvae, bfloat16": (kvae_fit, BFLOAT16, False, {}),
    "PyTorch, bfloat16": (torch_loop, BFLOAT16, True, {"channels_last": True}),
    "PyTorch, bfloat16, compiled": (
        torch_loop, BFLOAT16, True, {"channels_last": True, "compiled": True},
    ),
    "ceiling: matrix product": (gemm, FLOAT32, False, {}),
    "ceiling: convolution": (convolution, FLOAT32, False, {}),
}  # fmt: skip
KVAE = {FLOAT32: "kvae", BFLOAT16: "kvae, bfloat16"}


def _backend():
    import keras

    return keras.backend.backend()


def _policy(precision):
    return precision if precision == FLOAT32 else f"mixed_{precision}"


def _vae(given, precision):
    import kvae

    return kvae.build_vae(
        (SIZE, SIZE, 3), latent_dim=LATENT_DIM, network=given.network, variance=VARIANCE,
        dtype=_policy(precision),
    )  # fmt: skip


def _gflop(vae, batch):
    """Work of a step: each kernel once forward, once for its own gradient, once for its input's."""
    total, first = 0, None
    for layer in [*vae.encoder.layers, *vae.decoder.layers]:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        # A transposed convolution multiplies at each place of its input, all others of the output.
        transposed = type(layer).__name__ in ("Conv2DTranspose", "Head")
        places = np.prod((layer.input if transposed else layer.output).shape[1:-1])
        work = 2 * float(np.prod(kernel.shape)) * float(places)
        first = work if first is None else first  # nobody needs the gradient by x
        total += 3 * work
    return batch * (total - first) / 1e9


# A contestant's process: a line when it is ready, and a line for each round.


def work(given):
    """Serve one contestant."""
    make, precision, _, own = CONTESTANTS[given.worker]
    if given.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, str(HERE.parents[1]))
    if make is plain_keras:
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)

    def say(**found):
        print(json.dumps(found), file=answers, flush=True)

    try:
        if given.cores and make in (pythae, torch_loop):
            import torch

            torch.set_num_threads(given.cores)
        steps, known = make(given, precision, **own)
        steps(WARM_UP)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}"[:200])
        return
    say(**known)
    for _ in sys.stdin:
        processor, wall = time.process_time(), time.perf_counter()
        steps(given.steps)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        say(wall=1000 * wall / given.steps, processor=1000 * processor / given.steps)


class Contestant:
    """A process that trains when it is asked to."""

    def __init__(self, name, given, file):
        is_peer = CONTESTANTS[name][2]
        words = [
            given.peers if is_peer else sys.executable, "-W", "ignore", str(HERE), "--worker", name,
            "--file", str(file), "--network", given.network, "--batch", str(given.batch),
            "--steps", str(given.steps), "--cores", str(given.cores),
        ]  # fmt: skip
        self.own = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        self.known = self._answer()
        self.rounds = []

    def _answer(self):
        line = self.own.stdout.readline()
        return json.loads(line) if line else {"error": "its process ended"}

    def ask(self):
        """Train the steps of a round."""
        self.own.stdin.write("go\n")
        self.own.stdin.flush()
        found = self._answer()
        if "error" in found:
            raise SystemExit(f"a contestant failed in a round: {found['error']}")
        self.rounds.append(found)

    def end(self):
        """Let it go."""
        self.own.stdin.close()
        self.own.wait()


def images(folder, count):
    """Images, uint8 `(count, 64, 64, 3)`: those of a folder, repeated where it has fewer."""
    if folder is None:
        shape = (count, SIZE, SIZE, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    from PIL import Image, ImageOps

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png"))[:count]
    if not paths:
        raise SystemExit(f"{folder}: no .jpg and no .png")
    found = []
    for path in paths:
        with Image.open(path) as image:
            found.append(np.asarray(ImageOps.fit(image.convert("RGB"), (SIZE, SIZE))))
    return np.resize(np.stack(found), (count, SIZE, SIZE, 3))


def chosen(given):
    """The contestants that take part."""
    names = given.only or list(CONTESTANTS)
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        names = [name for name in names if CONTESTANTS[name][0] not in (bare, plain_keras)]
    if given.network != "conv":
        names = [name for name in names if CONTESTANTS[name][0] is not plain_keras]
    return names


def figures(contestants):
    """name -> medians and minima, and the ratios of the same rounds."""
    found = {}
    for name, one in contestants.items():
        kvae = contestants.get(KVAE[CONTESTANTS[name][1]])
        row = {"known": one.known, "rounds": one.rounds}
        for clock in ("wall", "processor"):
            values = [each[clock] for each in one.rounds]
            row[clock] = {"median": statistics.median(values), "least": min(values)}
            if kvae is not None and "ceiling" not in name:
                pairs = zip(values, (each[clock] for each in kvae.rounds), strict=True)
                row[clock]["over_kvae"] = statistics.median(a / b for a, b in pairs)
        if "gflop" in one.known:
            row["gflop_per_second"] = 1000 * one.known["gflop"] / row["processor"]["median"]
        found[name] = row
    return found


def table(found):
    """The figures as Markdown."""
    print(
        "| ms a step | wall, median (least) | over kvae | processor, median (least) | over kvae |"
    )
    print("|---|---|---|---|---|")
    for name, row in found.items():
        cells = []
        for clock in ("wall", "processor"):
            each = row[clock]
            cells.append(f"{each['median']:.1f} ({each['least']:.1f})")
            cells.append(f"{each['over_kvae']:.2f}" if "over_kvae" in each else "")
        print(f"| {name} | {' | '.join(cells)} |")
    print()
    for name, row in found.items():
        if "gflop_per_second" in row:
            print(f"{name}: {row['gflop_per_second']:.1f} GFLOP a second of processor time")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--network", choices=NETWORKS, default="conv")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24, help="of a round (default: 24)")
    parser.add_argument("--cores", type=int, default=0, help="as many at most; 0: all")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="NAME")
    parser.add_argument("--data", type=Path, help="a folder of images")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, images(given.data, given.steps * given.batch))
        contestants = {}
        for name in chosen(given):
            one = Contestant(name, given, file)
            if "error" in one.known:
                print(f"left out: {name} ({one.known['error']})", flush=True)
                one.end()
            else:
                contestants[name] = one
        for _ in range(given.rounds):
            for one in contestants.values():
                one.ask()
        for one in contestants.values():
            one.end()
    found = figures(contestants)
    print(
        f"{given.network}, batches of {given.batch}, {given.rounds} rounds of {given.steps} steps"
    )
    table(found)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
