r"""Train a VAE of pythae on vectors, and draw from it with pythae's own samplers.

python benchmarks/pythae_vae.py DATA.npz FOUND.npz --epochs 60 --batch-size 512 \
    --learning-rate 0.003 --hidden-units 64 64 64 64 --seed 0 --num-samples 50000

`mixture_peers.py` starts this file with the interpreter of an environment that has torch and
pythae, and gives it the budget and the same hidden layers, without kvae's linear path; it imports
nothing of kvae. DATA.npz holds `train`, `valid` and `test`, `(rows, D)` in any unit. FOUND.npz
gets, in the same unit, `NAME/samples` and `NAME/seconds` for each sampler, and for the prior
`NAME/log_prob`, nats, of the first test rows. Seconds run from the start of this file to the fitted
sampler, with the imports and the training of the VAE.
"""

import time

_START = time.perf_counter()

import argparse  # noqa: E402
import logging  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402

os.environ.setdefault("TQDM_DISABLE", "1")  # read when pythae imports tqdm

import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from pythae.models import VAE, AutoModel, BetaVAE, BetaVAEConfig, VAEConfig  # noqa: E402
from pythae.models.base.base_utils import ModelOutput  # noqa: E402
from pythae.models.nn import BaseDecoder, BaseEncoder  # noqa: E402
from pythae.pipelines import TrainingPipeline  # noqa: E402
from pythae.samplers import (  # noqa: E402
    GaussianMixtureSampler,
    GaussianMixtureSamplerConfig,
    NormalSampler,
)
from pythae.trainers import BaseTrainerConfig  # noqa: E402
from pythae.trainers.trainer_utils import set_seed  # noqa: E402

MIXTURE_SIZES = (10, 30)  # 10 is pythae's default, 30 that of kvae
LATENT_DIM = 3
_DRAWS, _DENSITY_ROWS = 500, 2_000  # pythae goes row by row
_SAMPLE_BATCH = 1_000


def _hidden(size, units):
    layers = []
    for count in units:
        layers += [torch.nn.Linear(size, count), torch.nn.ReLU()]
        size = count
    return torch.nn.Sequential(*layers)


class Encoder(BaseEncoder):
    """Hidden layers and two heads; first it takes away the shift of `Units`."""

    def __init__(self, size, shift, units):
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32))
        self.hidden = _hidden(size, units)
        self.mean = torch.nn.Linear(units[-1], LATENT_DIM)
        self.log_variance = torch.nn.Linear(units[-1], LATENT_DIM)

    def forward(self, x):
        """Give the moments of the posterior."""
        hidden = self.hidden(x - self.shift)
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_variance(hidden))


class Decoder(BaseDecoder):
    """Hidden layers and a head; at the end it adds the shift of `Units`."""

    def __init__(self, size, shift, units):
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32))
        self.hidden = _hidden(LATENT_DIM, units)
        self.mean = torch.nn.Linear(units[-1], size)

    def forward(self, z):
        """Give the mean of x."""
        return ModelOutput(reconstruction=self.mean(self.hidden(z)) + self.shift)


class Units:
    """Standardised inputs, shifted to be positive.

    pythae's samplers refuse data with a value below 0 or none of 1 and above. A shift that the
    networks undo changes neither the loss nor the model.

    Args:
        train: `(rows, D)` whose mean and standard deviation are the unit.
    """

    def __init__(self, train):
        self._mean, self._stddev = train.mean(0, np.float64), train.std(0, dtype=np.float64)
        lowest = ((train - self._mean) / self._stddev).min()
        self.shift = float(math.ceil(1 - lowest))

    def to_model(self, x):
        """Give `x` in the model's unit, float32."""
        return ((x - self._mean) / self._stddev + self.shift).astype(np.float32)

    def from_model(self, x):
        """Give a sample in the unit of the data, float64."""
        return (np.asarray(x, np.float64) - self.shift) * self._stddev + self._mean

    def log_prob_from_model(self, log_prob):
        """Give a density per unit of the data."""
        return log_prob - np.log(self._stddev).sum()


def train(x_train, x_valid, shift, arguments, folder):
    """The model that pythae keeps: the one with the least loss on the valid rows."""
    size = x_train.shape[1]
    options = {"input_dim": (size,), "latent_dim": LATENT_DIM, "reconstruction_loss": "mse"}
    if arguments.beta == 1:
        kind, config = VAE, VAEConfig(**options)
    else:
        kind, config = BetaVAE, BetaVAEConfig(**options, beta=arguments.beta)
    training = BaseTrainerConfig(
        output_dir=folder, num_epochs=arguments.epochs, learning_rate=arguments.learning_rate,
        per_device_train_batch_size=arguments.batch_size, per_device_eval_batch_size=5_000,
        optimizer_cls="Adam", scheduler_cls="CosineAnnealingLR",
        scheduler_params={"T_max": arguments.epochs}, seed=arguments.seed, no_cuda=True,
    )  # fmt: skip
    set_seed(arguments.seed)
    units = arguments.hidden_units
    model = kind(config, encoder=Encoder(size, shift, units), decoder=Decoder(size, shift, units))
    TrainingPipeline(model=model, training_config=training)(x_train, x_valid)
    (final,) = Path(folder).glob("*/final_model")
    return AutoModel.load_from_folder(str(final)).eval()


def samplers(model, x_train):
    """Name and sampler of each way to draw a latent, fitted."""
    yield "prior", NormalSampler(model)
    for count in MIXTURE_SIZES:
        sampler = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=count))
        sampler.fit(x_train)
        yield f"mixture of {count}", sampler


def log_prob(model, x):
    """Importance-weighted log p(x) of each row under the prior and unit noise, nats.

    `get_nll`, despite its name, returns the mean log-likelihood of the rows that it is given.
    """
    with torch.no_grad():
        rows = torch.from_numpy(x).split(1)
        return np.array([model.get_nll(row, n_samples=_DRAWS, batch_size=_DRAWS) for row in rows])


def main():
    """Read, train, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("found")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--hidden-units", type=int, nargs="+", required=True)
    parser.add_argument("--beta", type=float, default=1.0, help="other than 1: pythae's BetaVAE")
    parser.add_argument("--num-samples", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)  # for matrices of this size more threads wait more than they work
    data = np.load(arguments.data)
    units = Units(data["train"])
    x_train, x_valid, x_test = (units.to_model(data[name]) for name in ("train", "valid", "test"))
    with tempfile.TemporaryDirectory() as folder:
        model = train(x_train, x_valid, units.shift, arguments, folder)
    trained = time.perf_counter() - _START
    found = {}
    start = time.perf_counter()
    for name, sampler in samplers(model, x_train):
        found[f"{name}/seconds"] = trained + time.perf_counter() - start
        with torch.no_grad():
            drawn = sampler.sample(arguments.num_samples, batch_size=_SAMPLE_BATCH)
        found[f"{name}/samples"] = units.from_model(drawn)
        start = time.perf_counter()
    if arguments.beta == 1:  # only then is the loss a bound of the density that get_nll assumes
        found["prior/log_prob"] = units.log_prob_from_model(log_prob(model, x_test[:_DENSITY_ROWS]))
    np.savez(arguments.found, **found)


if __name__ == "__main__":
    main()
