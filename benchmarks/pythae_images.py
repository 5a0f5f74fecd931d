r"""Train a VAE of pythae on images, reconstruct, and draw from it with pythae's own samplers.

python benchmarks/pythae_images.py DATA.npz FOUND.npz --latent-dim 50 --epochs 30 --seed 0

`celeba_peers.py` starts this file with the interpreter of an environment that has torch and pythae;
it imports nothing of kvae. The networks are those of the student report, as `kvae.networks.conv`
builds them. DATA.npz holds uint8 images: `train`, `valid`, and `reconstruct`. FOUND.npz gets, as
float16 in [0, 1], `reconstructions` and, for each sampler, `NAME/samples`; and `seconds`, from when
imports are done and the data in memory to the trained model, with `NAME/seconds` more for each
sampler. With `--minutes` an epoch is timed first, within them, and as many are trained as fit.
"""

import argparse
import logging
import os
import time

os.environ.setdefault("TQDM_DISABLE", "1")  # read when pythae imports tqdm

import tempfile
from pathlib import Path

import numpy as np
import torch
from pythae.models import VAE, AutoModel, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.samplers import (
    GaussianMixtureSampler,
    GaussianMixtureSamplerConfig,
    NormalSampler,
)
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.trainer_utils import set_seed

_BATCH = 250
_SHAPE = (3, 64, 64)


class Encoder(BaseEncoder):
    """Four halving convolutions, a dense layer, two heads."""

    def __init__(self, latent_dim):
        super().__init__()
        layers, channels = [], _SHAPE[0]
        for filters in (32, 32, 64, 64):
            layers += [torch.nn.Conv2d(channels, filters, 4, 2, 1), torch.nn.ReLU()]
            channels = filters
        self.hidden = torch.nn.Sequential(
            *layers, torch.nn.Flatten(), torch.nn.Linear(1024, 256), torch.nn.ReLU()
        )
        self.mean = torch.nn.Linear(256, latent_dim)
        self.log_variance = torch.nn.Linear(256, latent_dim)

    def forward(self, x):
        """Give the moments of the posterior."""
        hidden = self.hidden(x)
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_variance(hidden))


class Decoder(BaseDecoder):
    """The mirror of `Encoder`, with a linear head."""

    def __init__(self, latent_dim):
        super().__init__()
        layers = [torch.nn.Linear(latent_dim, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1024)]
        layers += [torch.nn.ReLU(), torch.nn.Unflatten(1, (64, 4, 4))]
        channels = 64
        for filters in (64, 32, 32):
            layers += [torch.nn.ConvTranspose2d(channels, filters, 4, 2, 1), torch.nn.ReLU()]
            channels = filters
        self.hidden = torch.nn.Sequential(*layers, torch.nn.ConvTranspose2d(channels, 3, 4, 2, 1))

    def forward(self, z):
        """Give the mean of x."""
        return ModelOutput(reconstruction=self.hidden(z))


def _model(arguments):
    config = VAEConfig(input_dim=_SHAPE, latent_dim=arguments.latent_dim, reconstruction_loss="mse")
    set_seed(arguments.seed)
    return VAE(config, Encoder(arguments.latent_dim), Decoder(arguments.latent_dim))


def _train(x_train, x_valid, epochs, arguments):
    """The model that pythae keeps: the one with the least loss on the valid rows."""
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, learning_rate=arguments.learning_rate,
            per_device_train_batch_size=arguments.batch_size, per_device_eval_batch_size=_BATCH,
            optimizer_cls="Adam", seed=arguments.seed, no_cuda=True,
        )  # fmt: skip
        TrainingPipeline(model=_model(arguments), training_config=training)(x_train, x_valid)
        (final,) = Path(folder).glob("*/final_model")
        return AutoModel.load_from_folder(str(final)).eval()


def _epochs(x_train, x_valid, arguments):
    if not arguments.minutes:
        return arguments.epochs
    start = time.perf_counter()
    _train(x_train, x_valid, 1, arguments)
    price = time.perf_counter() - start
    return max(1, int((60.0 * arguments.minutes - price) / price))


def _in_parts(function, rows):
    with torch.no_grad():
        return np.concatenate([np.asarray(function(part)) for part in torch.split(rows, _BATCH)])


def _images(x):
    """From (n, channels, height, width) to images, small on disk."""
    return (
        np.clip(np.asarray(x.cpu() if hasattr(x, "cpu") else x), 0, 1)
        .transpose(0, 2, 3, 1)
        .astype(np.float16)
    )


def main():
    """Read, train, reconstruct, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("found")
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of --epochs")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    data = np.load(arguments.data)
    x_train, x_valid, x = (
        torch.from_numpy(data[name].transpose(0, 3, 1, 2).astype(np.float32) / 255)
        for name in ("train", "valid", "reconstruct")
    )
    start = time.perf_counter()
    epochs = _epochs(x_train, x_valid, arguments)
    model = _train(x_train, x_valid, epochs, arguments)
    found = {"seconds": time.perf_counter() - start, "epochs": epochs}
    found["reconstructions"] = _images(
        _in_parts(lambda part: model.decoder(model.encoder(part).embedding).reconstruction, x)
    )
    mixture = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=10))
    for name, sampler in (("normal", NormalSampler(model)), ("mixture", mixture)):
        start = time.perf_counter()
        if name == "mixture":
            sampler.fit(x_train)
        found[f"{name}/seconds"] = time.perf_counter() - start
        set_seed(arguments.seed)
        drawn = sampler.sample(arguments.num_samples, batch_size=_BATCH)
        found[f"{name}/samples"] = _images(drawn)
    np.savez(arguments.found, **found)


if __name__ == "__main__":
    main()
