"""kvae under JAX or torch on one GPU: the same numbers, how fast, how well trained.

    python benchmarks/gpu.py data CELEBA faces64.npz
    KERAS_BACKEND=jax JAX_PLATFORMS=cpu python benchmarks/gpu.py laws cpu.json --data faces64.npz
    KERAS_BACKEND=jax python benchmarks/gpu.py laws gpu.json --data faces64.npz
    python benchmarks/gpu.py compare cpu.json gpu.json
    KERAS_BACKEND=jax python benchmarks/gpu.py speed --data faces64.npz
    python benchmarks/gpu.py loop --tf32 --data faces64.npz
    python benchmarks/gpu.py pythae --data faces64.npz
    KERAS_BACKEND=jax python benchmarks/gpu.py train conv bfloat16 100 --data faces64.npz

Needs keras with jax or torch, numpy, pillow, and pythae for `pythae`; not TensorFlow. Each command
is a process of its own and prints a line of JSON for each thing measured. `data` makes the .npz of
64x64 faces that the others read: CELEBA holds `list_eval_partition.txt` and the aligned images, in
`img_align_celeba` or in any other folder beside it. `laws` writes distortion, rate and log-weight
of every pair of prior, posterior and likelihood, with weights and noise that depend on no device,
and `compare` says how far two such files are apart. `speed` counts images a second of kvae's
training; `loop` those of a plain PyTorch loop with the networks of `conv` and `conv-large`, and
`pythae` those of its trainer with the networks of `conv`: the same loss, a Gaussian of variance 0.1
and a latent space of 64. `train` is the celeba preset but for its batches of 128: the valid split's
ELBO and the test split's PSNR.

Products of float32 are exact to float32 unless `--tf32` allows TensorFloat-32, 10 bits, as JAX does
by itself, and torch in convolutions. `--small` makes everything end within a minute on the CPU, and
its numbers worthless.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from backends import TERMS, as_taken, covering_rows, terms_of, worst_differences
from torch_peers import pythae_trainer, torch_loss, torch_networks

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
#: Network -> its options, and the batches to time it with.
NETWORKS = {
    "conv": ({}, (128, 512)),
    "resnet": ({"width": 32, "depth": 2}, (128,)),
    "conv-large": ({}, (128,)),
}
_LATENT_DIM, _VARIANCE, _SHAPE = 64, 0.1, (64, 64, 3)
_STEPS_OF_A_BLOCK = 16
_LEARNING_RATE = 1e-3


def say(**found):
    """Print a line of JSON."""
    print(json.dumps(found), flush=True)


def attempt(measure, **what):
    """Print what was measured, or that it failed: the next one is still wanted."""
    try:
        found = measure()
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"[:300]}
    say(**what, **found)


# Data


def face(path):
    """The middle 148 pixels of an aligned CelebA image, 64x64x3 uint8."""
    from PIL import Image

    with Image.open(path) as image:
        left, top = (image.width - 148) // 2, (image.height - 148) // 2
        box = (left, top, left + 148, top + 148)
        small = image.convert("RGB").resize(_SHAPE[:2], Image.Resampling.BILINEAR, box)
    return np.asarray(small)


def data(arguments):
    """Write the splits of a folder of faces to an .npz."""
    lines = (arguments.folder / "list_eval_partition.txt").read_text().split("\n")
    split_of = dict(line.split()[:2] for line in lines if line.strip())
    paths = sorted(path for path in arguments.folder.rglob("*.jpg") if path.name in split_of)
    if not paths:
        raise SystemExit(f"{arguments.folder}: no .jpg that list_eval_partition.txt names")
    count = max(1, round(arguments.share * len(paths)))
    paths = [paths[place] for place in np.linspace(0, len(paths) - 1, count).astype(int)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        x = np.stack(list(pool.map(face, paths)))
    splits = np.array([split_of[path.name] for path in paths])
    named = {name: x[splits == str(key)] for key, name in enumerate(("train", "valid", "test"))}
    np.savez_compressed(arguments.file, **named)
    say(what="data", **{name: len(rows) for name, rows in named.items()})


def split(arguments, name, rows=None):
    """A split of the data, with `--small` few rows; `rows`: that many, repeated where it needs."""
    with np.load(arguments.data) as splits:
        x = splits[name]
    x = x[:64] if arguments.small else x
    return x if rows is None else np.resize(x, (rows, *x.shape[1:]))


# kvae


def set_tf32(allowed):
    """Whether float32 products may be rounded to TensorFloat-32, in the backend in use."""
    import keras

    import kvae.steps  # noqa: F401  # first, should it have a say

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if allowed else "highest")
    else:
        set_tf32_of_torch(allowed)


def set_tf32_of_torch(allowed):
    """Likewise, of torch."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def device():
    """The device that Keras computes on, in words, with its backend."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return {"backend": backend, "device": jax.devices()[0].device_kind}
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"backend": backend, "device": name}


def compiled(network, policy, steps=None, **options):
    """A VAE of faces, ready for `fit`; with `steps` its learning rate falls along a cosine."""
    import keras

    import kvae

    keras.utils.set_random_seed(0)
    vae = kvae.build_vae(
        _SHAPE, latent_dim=_LATENT_DIM, network=network, dtype=POLICIES[policy], **options
    )
    rate = _LEARNING_RATE
    if steps:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=1e-3)
    vae.compile(keras.optimizers.Adam(rate), jit_compile=keras.backend.backend() == "jax")
    return vae


def drawn_weights(vae):
    """Weights of every size of effect, the same under each backend: nothing stays at 0 or 1.

    What no gradient moves is left as it is: counts, a variance that is read off the errors.
    """
    rng = np.random.default_rng(1)
    for weight in vae.trainable_weights:
        fan_in = max(1, int(np.prod(weight.shape[:-1])))
        weight.assign(rng.normal(size=weight.shape, scale=0.8 / np.sqrt(fan_in)).astype("float32"))


def laws(arguments):
    """Write the terms of all rows."""
    import kvae

    set_tf32(arguments.tf32)
    rows = covering_rows()
    if arguments.small:
        rows = dict(list(rows.items())[::5])
    faces, found = split(arguments, "valid")[:16], {}
    start = time.perf_counter()
    for row, options in rows.items():
        vae = kvae.build_vae(_SHAPE, latent_dim=8, network="conv", **options)
        drawn_weights(vae)
        terms = terms_of(vae, as_taken(faces, options), seed=5)
        found[row] = {name: values.tolist() for name, values in terms.items()}
    how = {**device(), "tf32": arguments.tf32}
    arguments.file.write_text(json.dumps({**how, "rows": found}))
    say(what="laws", **how, rows=len(found), seconds=round(time.perf_counter() - start, 1))


def compare(arguments):
    """Say how far two files of `laws` are apart, and where most."""
    first, second = (json.loads(path.read_text()) for path in (arguments.first, arguments.second))
    if set(first["rows"]) != set(second["rows"]):
        raise SystemExit("these files are of other rows")
    rows = {
        row: worst_differences(*(_arrays(found["rows"][row]) for found in (first, second)))
        for row in first["rows"]
    }
    how = [
        {name: found[name] for name in ("backend", "device", "tf32")} for found in (first, second)
    ]
    say(what="compare", of=how, **{
        name: {"worst": max(found[name] for found in rows.values()),
               "at": max(rows, key=lambda row, name=name: rows[row][name])}
        for name in TERMS
    })  # fmt: skip


def _arrays(terms):
    return {name: np.asarray(values) for name, values in terms.items()}


def blocks(x, batch, steps):
    """Batches of x as blocks of so many steps for `fit`, `(steps, batch, *image)`."""
    import keras

    class Blocks(keras.utils.PyDataset):
        def __len__(self):
            return len(x) // (batch * steps)

        def __getitem__(self, number):
            rows = batch * steps
            block = x[number * rows : (number + 1) * rows]
            return (block.reshape(steps, batch, *x.shape[1:]),)

    return Blocks()


def best_time(run, times):
    """The least seconds of a few runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def step_speed(vae, x, steps):
    """Images a second of the training step alone under JAX, its batch on the device already."""
    import jax

    parts = (vae.trainable_variables, vae.non_trainable_variables, vae.optimizer.variables,
             vae.metrics_variables)  # fmt: skip
    # Copies: the state is given away to each step, and the model keeps its own.
    state = tuple([jax.numpy.array(variable.value) for variable in part] for part in parts)
    step, x = jax.jit(vae.train_step, donate_argnums=0), jax.numpy.asarray(x)
    _, state = jax.block_until_ready(step(state, x))
    start = time.perf_counter()
    for _ in range(steps):
        _, state = step(state, x)
    jax.block_until_ready(state)
    return steps * len(x) / (time.perf_counter() - start)


def fit_speed(arguments, network, policy, batch):
    """Images a second through `fit`, and seconds until its first two steps are done."""
    import keras

    options, _ = NETWORKS[network]
    is_jax = keras.backend.backend() == "jax"
    count = 2 if arguments.small else (128 if is_jax else 32)
    x, times = split(arguments, "train", count * batch), 1 if arguments.small else 2
    vae = compiled(network, policy, variance=_VARIANCE, **options)
    first = best_time(lambda: vae.fit(x[: 2 * batch], batch_size=batch, verbose=0), 1)
    seconds = best_time(lambda: vae.fit(x, batch_size=batch, verbose=0), times)
    found = {"first_seconds": round(first, 1), "fit": round(len(x) / seconds)}
    if is_jax:
        found["step"] = round(step_speed(vae, x[:batch], 2 if arguments.small else 100))
    if is_jax and network == "conv":
        given = blocks(x, batch, min(count, _STEPS_OF_A_BLOCK))
        vae.fit(given, verbose=0)
        found["fit_in_blocks"] = round(len(x) / best_time(lambda: vae.fit(given, verbose=0), times))
    return found


def speed(arguments):
    """Time kvae's training."""
    set_tf32(arguments.tf32)
    how = {**device(), "tf32": arguments.tf32, "unit": "images/s"}
    for network in arguments.networks:
        for policy in arguments.policies:
            batches = NETWORKS[network][1]
            for batch in (8,) if arguments.small else batches:
                attempt(
                    lambda at=(network, policy, batch): fit_speed(arguments, *at),
                    what="kvae", **how, network=network, policy=policy, batch=batch,
                )  # fmt: skip


def mirrored(x, batch):
    """Rows of x for `fit` in an order of their own each epoch, half of them mirrored."""
    import keras

    class Mirrored(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.rng = np.random.default_rng(0)
            self.on_epoch_end()

        def __len__(self):
            return len(x) // batch

        def __getitem__(self, number):
            rows = slice(number * batch, (number + 1) * batch)
            images, flips = x[self.order[rows]], self.flips[rows, None, None, None]
            return (np.where(flips, images[:, :, ::-1], images),)

        def on_epoch_end(self):
            self.order, self.flips = self.rng.permutation(len(x)), self.rng.random(len(x)) < 0.5

    return Mirrored()


def train(arguments):
    """Train as the celeba preset does, and measure."""
    import keras

    set_tf32(arguments.tf32)
    x, valid, test = (split(arguments, name) for name in ("train", "valid", "test"))
    batch = 8 if arguments.small else arguments.batch
    given = mirrored(x, batch)
    options, _ = NETWORKS[arguments.network]
    steps = len(given) * arguments.epochs
    vae = compiled(arguments.network, arguments.policy, steps, variance="optimal", **options)
    valid = valid[: len(valid) // 50 * 50]  # one shape of batch, compiled once
    start = time.perf_counter()
    curve = vae.fit(
        given, epochs=arguments.epochs, validation_data=(valid,), validation_batch_size=50,
        verbose=0,
    ).history["val_elbo"]  # fmt: skip
    seconds = time.perf_counter() - start
    shown = np.concatenate(
        [
            keras.ops.convert_to_numpy(vae(rows))
            for rows in np.array_split(test, -(-len(test) // 50))
        ]
    )
    errors = np.mean((shown.clip(0, 1) - test / 255.0) ** 2, axis=(1, 2, 3))
    psnr = float(np.mean(-10 * np.log10(errors)))
    say(
        what="train", **device(), tf32=arguments.tf32, network=arguments.network,
        policy=arguments.policy, batch=batch, epochs=arguments.epochs, rows=len(x),
        seconds=round(seconds, 1), val_elbo=round(max(curve), 1),
        best_epoch=int(np.argmax(curve)) + 1, last_val_elbo=round(curve[-1], 1),
        last_test_psnr=round(psnr, 3),
    )  # fmt: skip


# Others


def loop_speed(arguments, network, policy, is_compiled, batch):
    """Images a second of a plain loop over rows that are on the device already."""
    import torch

    place = "cuda" if torch.cuda.is_available() else "cpu"
    layout = {"memory_format": torch.channels_last}
    torch.manual_seed(0)
    parts = torch.nn.ModuleList(torch_networks(network, _LATENT_DIM)).to(place, **layout)
    x = torch.from_numpy(split(arguments, "train", 16 * batch)).permute(0, 3, 1, 2)
    x = x.to(place).contiguous(**layout)
    loss_of = torch_loss(*parts, _VARIANCE, place, getattr(torch, policy))
    if is_compiled:
        loss_of = torch.compile(loss_of)
    adam = torch.optim.Adam(parts.parameters(), _LEARNING_RATE, fused=place == "cuda")
    scaler = torch.amp.GradScaler(place, enabled=policy == "float16")

    def steps(count):
        for number in range(count):
            first = number % 16 * batch
            adam.zero_grad(set_to_none=True)
            scaler.scale(loss_of(x[first : first + batch])).backward()
            scaler.step(adam)
            scaler.update()
        if place == "cuda":
            torch.cuda.synchronize()

    first = best_time(lambda: steps(2 if arguments.small else 20), 1)
    count, times = (2, 1) if arguments.small else (150, 2)
    seconds = best_time(lambda: steps(count), times)
    return {"first_seconds": round(first, 1), "loop": round(count * batch / seconds)}


def loop(arguments):
    """Time a plain PyTorch loop."""
    import torch

    set_tf32_of_torch(arguments.tf32)
    torch.backends.cudnn.benchmark = True
    for network in ("conv", "conv-large"):
        for policy in POLICIES:
            for is_compiled in (False, True):
                for batch in (8,) if arguments.small else NETWORKS[network][1]:
                    at = (network, policy, is_compiled, batch)
                    attempt(
                        lambda at=at: loop_speed(arguments, *at),
                        what="loop", tf32=arguments.tf32, network=network, policy=policy,
                        compiled=is_compiled, batch=batch, unit="images/s",
                    )  # fmt: skip


def pythae_speed(arguments, amp):
    """Images a second of the epochs of pythae's trainer, which reads rows from the host."""
    import torch

    x = split(arguments, "train").transpose(0, 3, 1, 2).astype("float32") / 255
    with tempfile.TemporaryDirectory() as folder:
        trainer = pythae_trainer(torch_networks("conv", _LATENT_DIM), x, 128, folder, amp=amp)

        def epoch():
            trainer.train_step(1)
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        seconds = best_time(epoch, 2 if arguments.small else 5)
    return {"trainer": round(len(x) / seconds)}


def pythae(arguments):
    """Time pythae's trainer."""
    set_tf32_of_torch(arguments.tf32)
    for amp in (False, True):
        attempt(
            lambda amp=amp: pythae_speed(arguments, amp),
            what="pythae", tf32=arguments.tf32, network="conv", amp=amp, batch=128, unit="images/s",
        )  # fmt: skip


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, *paths, reads_data=True):
        own = commands.add_parser(function.__name__, help=function.__doc__)
        own.set_defaults(run=function)
        for path in paths:
            own.add_argument(path, type=Path)
        if reads_data:
            own.add_argument("--data", type=Path, default=Path("faces64.npz"), metavar="FILE")
            own.add_argument("--tf32", action="store_true", help="allow TensorFloat-32")
            own.add_argument("--small", action="store_true", help="see that it runs, on a CPU")
        return own

    making = command(data, "folder", "file", reads_data=False)
    making.add_argument("--share", type=float, default=1.0, help="of the images, evenly taken")
    command(laws, "file")
    command(compare, "first", "second", reads_data=False)
    timing = command(speed)
    timing.add_argument("--networks", nargs="+", choices=NETWORKS, default=tuple(NETWORKS))
    timing.add_argument("--policies", nargs="+", choices=POLICIES, default=tuple(POLICIES))
    command(loop)
    command(pythae)
    training = command(train)
    training.add_argument("network", choices=NETWORKS)
    training.add_argument("policy", choices=POLICIES)
    training.add_argument("epochs", type=int)
    training.add_argument("--batch", type=int, default=128)
    return parser


def main():
    """Run the command that is asked for."""
    arguments = _parser().parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
