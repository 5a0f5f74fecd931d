"""Models broken on purpose, each of which the doctor should name, and healthy ones.

python benchmarks/doctor_patients.py [--output patients.md] [--only NAME ...] [--celeba DIR]

All are trained, published, and measured through their signatures, as evaluate.py does; minutes in
all. Those without a preset are of scikit-learn's digits; of CelebA there are two where its folder
is given. A row says what was broken, what the doctor should name, and all that it named, the most
severe first. `first` says whether the wanted problem is the first finding. Of healthy models
nothing but what is only possible may be said.
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import keras
import numpy as np

from kvae.config import resolve
from kvae.data import Dataset, Split
from kvae.evaluation import measurements
from kvae.evaluation.doctor import diagnose
from kvae.evaluation.judging import train_features
from kvae.evaluation.observation import Observation
from kvae.features import feature_net
from kvae.priors.standard_normal import StandardNormal
from kvae.serving.served import ServedModel
from kvae.serving.versions import find_version
from kvae.training import run
from kvae.training.preflight import load
from kvae.training.run import TrainingError

HEALTHY = {
    "dataset": "digits", "network": "conv", "latent_dim": 16, "variance": "optimal",
    "prior": "standard_normal", "sampler": "mixture", "learning_rate": 2e-3,
    "learning_rate_schedule": "cosine", "epochs": 30,
}  # fmt: skip
# What is broken: (options, problem that the doctor should name).
PATIENTS = {
    "healthy": ({}, None),
    "beta 50": ({"beta": 50}, "posterior collapse"),
    "beta 6": ({"beta": 6}, "beta far from 1"),
    "variance 10": ({"variance": 10}, "variance too large"),
    "variance 0.0005": ({"variance": 0.0005}, "variance too small"),
    "1 latent": ({"latent_dim": 1, "epochs": 100}, "latent space too small"),
    "1 epoch": ({"epochs": 1}, "training too short"),
    "learning rate 1e-5": ({"learning_rate": 1e-5}, "training too short"),
    "120 train rows": ({"epochs": 600, "learning_rate_schedule": "constant"}, "overfitting"),
    "no sampler": ({"sampler": "none"}, "prior gap"),
    "sampler of noise": ({}, "dead sampler"),
    "64 latents": ({"latent_dim": 64, "variance": 0.1, "epochs": 100}, "few units"),
    "learning rate 10": ({"learning_rate": 10.0}, "learning rate too high"),
    "healthy mixture": ({"preset": "gmm"}, None),
    "report-gmm": ({"preset": "report-gmm"}, "modes missed"),
    "mixture, learning rate 10": (
        {"preset": "gmm", "learning_rate": 10.0, "epochs": 12}, "learning rate too high",
    ),
    "table, 1 latent": (
        {"preset": "arrays", "latent_dim": 1, "linear_path": False, "epochs": 12},
        "samples unlike the data",
    ),
    "data at 1e18": (
        {"preset": "arrays", "standardize": False, "epochs": 12}, "data out of range",
    ),
    "variance 1e-30": ({"variance": 1e-30, "epochs": 12}, "variance too small"),
    "beta 1e30": ({"beta": 1e30, "epochs": 12}, "beta far from 1"),
    "celeba": ({"preset": "celeba", "epochs": 4}, None),
    "report-celeba": ({"preset": "report-celeba", "epochs": 4}, "prior gap"),
}  # fmt: skip
FEW_ROWS = 120
TABLE_ROWS = 4_000


def _options(name, folder, celeba):
    """What `resolve` is told: the options and the preset."""
    options = dict(PATIENTS[name][0])
    preset = options.pop("preset", None)
    if preset is None:
        return {**HEALTHY, **options}, None
    if preset == "arrays":
        options["data_dir"] = str(_table(Path(folder), 1e18 if name == "data at 1e18" else 1.0))
    elif preset.endswith("celeba"):
        options["data_dir"] = celeba
    return options, preset


def _table(folder, scale):
    """A table of three columns: a spiral, which no single latent can follow, and its noise."""
    rng = np.random.default_rng(0)
    angle = 4.0 * np.pi * np.sqrt(rng.uniform(size=TABLE_ROWS))
    spiral = np.stack([angle * np.cos(angle), angle * np.sin(angle), angle], axis=1)
    file = folder / "table.npy"
    np.save(file, scale * (spiral + 0.3 * rng.standard_normal(spiral.shape)))
    return file


def _dataset(name, config):
    dataset = load(config)
    if name != "120 train rows":
        return dataset
    few = Split(
        dataset.train.x[:FEW_ROWS], {k: v[:FEW_ROWS] for k, v in dataset.train.labels.items()}
    )
    return Dataset("images", few, dataset.valid, dataset.test, dataset.card, dataset.color_by)


def _wide_noise(latent_dim):
    """A sampler whose draws have nothing to do with the posteriors."""
    return _Noise(latent_dim, name="sampler")


@keras.saving.register_keras_serializable(package="doctor_patients")
class _Noise(StandardNormal):
    kind = "mixture"
    exact_density = False

    def __init__(self, latent_dim, **kwargs):
        super().__init__(**kwargs)
        self._dim = latent_dim

    def sample(self, noise):
        return 6.0 * noise.normal("latent", self._dim)

    def get_config(self):
        return {**super().get_config(), "latent_dim": self._dim}


def _see(name, folder, seed, celeba=None):
    options, preset = _options(name, folder, celeba)
    own = {"save": folder, "name": "patient", "seed": seed}
    config = resolve({**options, **own}, preset)
    dataset = _dataset(name, config)
    with contextlib.redirect_stdout(io.StringIO()):
        if name == "sampler of noise":
            fit, run.with_sampler = (
                run.with_sampler,
                (lambda vae, *_, **__: vae.with_sampler(_wide_noise(vae.latent_dim))),
            )
            try:
                run.train(config, dataset)
            finally:
                run.with_sampler = fit
        else:
            run.train(config, dataset)
    served = ServedModel(find_version(Path(folder) / "patient"))
    train = None
    if dataset.kind == "images":
        train = train_features(feature_net("auto", load(config)), dataset, seed)
    metrics, _ = measurements.measure(
        Observation(served, dataset, seed=seed, train=train), num_draws=64
    )
    metadata = served.metadata
    findings = diagnose(
        {**metrics, "sampler": metadata["sampler"]},
        config=metadata["config"], history=metadata["history"],
    )  # fmt: skip
    keras.backend.clear_session()
    return PATIENTS[name][1], findings, metrics


def main():
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PATIENTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--celeba", metavar="DIR", help="folder of CelebA, for its two patients")
    parser.add_argument("--output", help="Markdown file to write")
    parser.add_argument("--metrics", metavar="DIR", help="folder for each patient's metrics")
    arguments = parser.parse_args()
    lines = ["| patient | wanted | named | first | all findings |", "|---|---|---|---|---|"]
    for name in arguments.only or PATIENTS:
        if "celeba" in name and arguments.celeba is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                wanted, findings, metrics = _see(name, folder, arguments.seed, arguments.celeba)
            except TrainingError as error:  # nothing is published that could be measured
                wanted = PATIENTS[name][1]
                named = "certain" if f"{wanted}: " in str(error) else "NO"
                lines.append(f"| {name} | {wanted} | {named} | | not published: {error} |")
                print(lines[-1], flush=True)
                continue
        if arguments.metrics:
            path = Path(arguments.metrics) / f"{name.replace(' ', '-')}.json"
            path.write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        found = [f"{finding.problem} ({finding.sure})" for finding in findings]
        problems = [finding.problem for finding in findings]
        serious = [finding for finding in findings if finding.sure != "possible"]
        if wanted is None:
            named = "NO" if serious else "yes"
        else:
            named = next((one.sure for one in findings if one.problem == wanted), "NO")
        first = not serious if wanted is None else problems[:1] == [wanted]
        shown = (name, wanted or "nothing", named, "yes" if first else "NO")
        cells = (*shown, ", ".join(found) or "none")
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(f"\n{text}")
    if arguments.output:
        Path(arguments.output).write_text(text + "\n")


if __name__ == "__main__":
    main()
