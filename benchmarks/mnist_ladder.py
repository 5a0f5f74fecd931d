"""The likelihood ladder of dynamically binarised MNIST, with kvae on it and pythae beside it.

    python benchmarks/mnist_ladder.py DATA_DIR --peers ../peers/bin/python [--seeds 0 1 2] [--long]
    python benchmarks/mnist_ladder.py DATA_DIR --versions saved/mnist/1 saved/mnist/2 --long
    python benchmarks/mnist_ladder.py DATA_DIR --dataset fashion-mnist -- --epochs 5

Trains `train.py --dataset mnist` on DATA_DIR once for each seed (or measures the --versions that
are there), then pythae for as long as the longest of these trainings took: its VAMP model with two
dense layers of 300, 40 latents, 500 components, batches of 100 and Adam at 5e-4, on images that are
binarised anew for each epoch. `--peers` is the interpreter of an environment with torch and pythae.
pythae's own figures are of the binary MNIST of its model cards, which may be another binarisation.

Measured is -log p(x) in nats on the test split, which is binarised once, the same for all: the
ELBO, the importance-weighted bound of 128 draws on --rows of its images (all, unless told), and of
1,000 draws on the first 1,000; with --long also of 5,000 draws on these, and the paired difference
to 128. More draws only make the bound tighter, and the number smaller. Words after `--` are options
of train.py.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
FEW, MORE, MANY, SOME_ROWS = 128, 1_000, 5_000, 1_000
AT_ONCE = 2_000  # latents that go through pythae's networks together
ANSWER = "figures of the peer: "
BINARIZE_SEED = 0
#: Model -> -log p(x), the number of draws (None: not known here), where it is from.
PUBLISHED = {
    "VAE, pythae": (89.78, 200, "pythae's model card, binary MNIST"),
    "IWAE of 50 draws, pythae": (86.82, 5_000, "pythae's model card, binary MNIST"),
    "VAE, dense": (86.76, 5_000, "arXiv:1509.00519"),
    "VAMP, pythae": (85.79, 5_000, "pythae's model card, binary MNIST"),
    "IWAE of 50 draws, dense": (84.78, 5_000, "arXiv:1509.00519"),
    "IWAE of 50 draws, two layers": (82.90, 5_000, "arXiv:1509.00519"),
    "ladder VAE": (81.74, 5_000, "arXiv:1602.02282"),
    "convolutional ResNet VAE, 32 latents": (81.08, 128, "arXiv:1606.04934"),
    "the same with IAF": (79.10, 128, "arXiv:1606.04934"),
    "ResNet VAE, RealNVP prior, 40 latents": (78.49, 1_000, "arXiv:1905.13452"),
    "NVAE": (78.01, 1_000, "arXiv:2007.03898"),
}


def parsed(parser):
    """The arguments; what stands behind "--" is their `options`."""
    # argparse takes that only where nothing but positionals stands before it.
    words, options = sys.argv[1:], []
    if "--" in words:
        place = words.index("--")
        words, options = words[:place], words[place + 1 :]
    given = parser.parse_args(words)
    given.options = options
    return given


def name_of(seed):
    """What a model is called."""
    return f"seed-{seed}"


def train(given, seed, save):
    """Train by the command; the version's folder and the seconds of the command."""
    name = name_of(seed)
    words = [
        "--dataset", given.dataset, "--data-dir", str(given.data_dir), "--save", save,
        "--name", name, "--seed", str(seed), *given.options,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(HERE.parents[1] / "train.py"), *words], check=True, stdout=sys.stderr
    )
    return Path(save) / name / "1", time.perf_counter() - start


def measure(path, given):
    """The figures of a published version, through its signatures."""
    from kvae.data import DRAWN
    from kvae.metrics.likelihood import importance_bounds
    from kvae.serving.served import ServedModel
    from kvae.serving.versions import find_version

    served = ServedModel(find_version(str(path)))
    config = served.metadata["config"]
    wanted = {"dataset": given.dataset, "binarize_seed": BINARIZE_SEED}
    if {name: config.get(name) for name in wanted} != wanted or config.get("binarize") not in DRAWN:
        raise SystemExit(
            f"{path}: the ladder is of {given.dataset}, drawn (--binarize dynamic or static) with "
            f"--binarize-seed {BINARIZE_SEED}; this model was trained with --dataset "
            f"{config.get('dataset')} --binarize {config.get('binarize')} "
            f"--binarize-seed {config.get('binarize_seed')}"
        )
    x = test_images(given).astype("float32")
    found = {}
    for density in ("", "_sampler") if served.metadata["sampler"] != "none" else ("",):

        def ask(signature, density=density):
            return lambda rows, seed: served.call(signature, x=rows, seed=seed)[signature + density]

        def bound(rows, draws, ask=ask):
            return -importance_bounds(
                ask("log_weight"), ask("log_likelihood"), rows, num_draws=[draws],
                draws_per_call=served.metadata["num_draws"], seed=0,
            )[draws]  # fmt: skip

        figures = figures_of(bound, x, given.long)
        found["sampler" if density else "prior"] = figures
    return found


def test_images(given):
    """Those that are measured: `(rows, 28, 28, 1)`, uint8, 0 and 1."""
    from kvae import data

    own = {"binarize": "dynamic", "binarize_seed": BINARIZE_SEED}
    return data.load(given.dataset, data_dir=str(given.data_dir), **own).test.x[: given.rows] // 255


def figures_of(bound, x, is_long):
    """Means, nats an image, and standard errors of the bounds; of pairs for the longest."""
    few = bound(x, FEW)
    found = {"rows": len(x), "elbo": _mean(bound(x, 1)), str(FEW): _mean(few)}
    found["some_rows"] = len(x[:SOME_ROWS])
    found[f"{FEW} of some"] = _mean(few[:SOME_ROWS])
    found[str(MORE)] = _mean(bound(x[:SOME_ROWS], MORE))
    if is_long:
        many = bound(x[:SOME_ROWS], MANY)
        found[str(MANY)] = _mean(many)
        found["difference"] = _mean(many - few[:SOME_ROWS])
    return found


def _mean(values):
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def peer(given):
    """Of the other interpreter: train pythae's VAMP for so many seconds, and measure it."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAMP, VAMPConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    latent_dim, units, pixels = 40, 300, 784

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(pixels, units), nn.ReLU(), nn.Linear(units, units),
                nn.ReLU(), nn.Linear(units, 2 * latent_dim),
            )  # fmt: skip

        def forward(self, x):
            mean, log_variance = self.body(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(latent_dim, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(),
                nn.Linear(units, pixels), nn.Sigmoid(),
            )  # fmt: skip

        def forward(self, z):
            return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))

    torch.manual_seed(0)
    files = np.load(given.worker)
    grey = torch.from_numpy(files["train"].astype("float32") / 255).reshape(-1, 1, 28, 28)
    test = torch.from_numpy(files["test"].astype("float32")).reshape(-1, 1, 28, 28)
    data = BaseDataset(torch.bernoulli(grey), torch.ones(len(grey)))
    config = VAMPConfig(
        input_dim=(1, 28, 28), latent_dim=latent_dim, reconstruction_loss="bce",
        number_components=500, linear_scheduling_steps=5,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(
            VAMP(config, Encoder(), Decoder()), data,
            training_config=BaseTrainerConfig(
                output_dir=folder, per_device_train_batch_size=100, learning_rate=5e-4,
                no_cuda=True,
            ),
        )  # fmt: skip
        trainer.prepare_training()
        epochs, start = 0, time.perf_counter()
        while time.perf_counter() - start < given.seconds:
            epochs += 1
            data.data = torch.bernoulli(grey)
            trainer.train_step(epochs)
    seconds = time.perf_counter() - start
    model = trainer.model.eval()

    @torch.no_grad()
    def bound(rows, draws):
        found = []
        for part in torch.split(rows, max(1, AT_ONCE // draws)):
            q = model.encoder(part)
            weights = []
            for first in range(0, draws, AT_ONCE):  # the prior holds pairs of draw and component
                some = min(AT_ONCE, draws - first)
                x = part.flatten(1).repeat_interleave(some, 0)
                mean = q.embedding.repeat_interleave(some, 0)
                log_variance = q.log_covariance.repeat_interleave(some, 0)
                noise = torch.randn_like(mean)
                z = mean + torch.exp(log_variance / 2) * noise
                shown = model.decoder(z).reconstruction.flatten(1)
                log_x = -nn.functional.binary_cross_entropy(shown, x, reduction="none").sum(1)
                # Neither has its constant, which is the same.
                log_q = -(log_variance + noise.square()).sum(1) / 2
                weights.append((log_x + model._log_p_z(z) - log_q).reshape(-1, some))
            found.append(torch.logsumexp(torch.cat(weights, 1), 1) - np.log(draws))
        return -torch.cat(found).double().numpy()

    figures = figures_of(bound, test, given.long)
    print(ANSWER + json.dumps({"prior": figures, "seconds": seconds, "epochs": epochs}))


def beside(given, seconds):
    """pythae's figures, from its own interpreter."""
    from kvae import data

    grey = data.load(given.dataset, data_dir=str(given.data_dir)).train.x
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        np.savez(file, train=grey, test=test_images(given))
        words = ["--worker", str(file), "--seconds", str(seconds), *(["--long"] * given.long)]
        done = subprocess.run(
            [given.peers, "-W", "ignore", str(HERE), str(given.data_dir), *words],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"pythae failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.rsplit(ANSWER, 1)[1])


def table(rows, given):
    """The ladder as Markdown, the best last; published figures are those of MNIST."""
    rungs = []
    for name, row in rows.items():
        for density, figures in row.items():
            if not isinstance(figures, dict):
                continue
            (nats, error), elbo = figures[str(FEW)], figures["elbo"][0]
            remark = f"here, {density}; {figures['rows']:,} images"
            remark += f"; {row['seconds'] / 60:.1f} min" if row["seconds"] else ""
            rungs.append((nats, f"**{name}**", f"{nats:.2f} ± {error:.2f}", FEW, elbo, remark))
            for draws in (MORE, MANY):
                if str(draws) in figures:
                    nats, error = figures[str(draws)]
                    remark = f"here, {density}; the first {figures['some_rows']:,} images"
                    shown = f"{nats:.2f} ± {error:.2f}"
                    rungs.append((nats, f"**{name}**", shown, draws, "", remark))
    if given.dataset == "mnist":
        for name, (nats, draws, source) in PUBLISHED.items():
            rungs.append((nats, name, f"{nats:.2f}", draws or "", "", source))
    print("| model | -log p(x), nats | draws | -ELBO | |\n|---|---|---|---|---|")
    for _, name, nats, draws, elbo, remark in sorted(rungs, key=lambda rung: -rung[0]):
        elbo = f"{elbo:.2f}" if elbo else ""
        print(f"| {name} | {nats} | {draws} | {elbo} | {remark} |")


def main():
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="after --: options of train.py"
    )
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--dataset", default="mnist", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--versions", nargs="*", default=[], help="measure these, train none")
    parser.add_argument("--rows", type=int, default=10_000, help="test images at 128 draws")
    parser.add_argument("--long", action="store_true", help="also 5,000 draws")
    parser.add_argument("--peers", metavar="PYTHON", help="with torch and pythae")
    parser.add_argument("--minutes", type=float, help="of pythae (default: those of kvae)")
    parser.add_argument("--save", help="keep what is trained here")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parsed(parser)
    if given.worker:
        peer(given)
        return
    if given.peers:
        if given.versions and not given.minutes:
            parser.error("--minutes says how long pythae trains beside --versions")
        if subprocess.run([given.peers, "-c", "import torch, pythae"], check=False).returncode:
            parser.error(f"--peers {given.peers}: torch and pythae are not there")
    there = [
        name_of(seed) for seed in given.seeds if (Path(given.save or "") / name_of(seed)).exists()
    ]
    if given.save and not given.versions and there:
        parser.error(f"--save {given.save}: {there[0]} is there; another folder, or --versions")
    sys.path.insert(0, str(HERE.parents[1]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        made = [(Path(version), None) for version in given.versions]
        if not made:
            made = [train(given, seed, given.save or temporary) for seed in given.seeds]
        for path, seconds in made:
            name = f"kvae, {path.parent.name}"
            rows[name] = {**measure(path, given), "seconds": seconds}
            print(json.dumps({name: rows[name]}), file=sys.stderr, flush=True)
    if given.peers:
        seconds = 60 * given.minutes if given.minutes else max(seconds for _, seconds in made)
        rows["pythae's VAMP at equal time"] = beside(given, seconds)
    table(rows, given)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
