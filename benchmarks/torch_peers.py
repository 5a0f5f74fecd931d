"""kvae's networks of images as torch modules, and what trains them there: for the other scripts.

A plain loop takes `torch_loss`, pythae's trainer stands in `pythae_trainer`. Images are 64x64x3.
Imports torch and pythae where they are used.
"""

_LEARNING_RATE = 1e-3
_CHANNELS = 3


def torch_networks(network, latent_dim):
    """The encoder and the decoder of "conv", "conv-large" or "resnet" as torch modules."""
    from torch import nn

    if network == "resnet":
        return _resnet(latent_dim)
    encoder, decoder, channels = [], [], _CHANNELS
    if network == "conv":
        for filters in (32, 32, 64, 64):
            encoder += [nn.Conv2d(channels, filters, 4, 2, 1), nn.ReLU()]
            channels = filters
        encoder += [nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 2 * latent_dim)]
        decoder += [nn.Linear(latent_dim, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU()]
        decoder += [nn.Unflatten(1, (64, 4, 4))]
        for filters in (64, 32, 32):
            decoder += [nn.ConvTranspose2d(channels, filters, 4, 2, 1), nn.ReLU()]
            channels = filters
        decoder += [nn.ConvTranspose2d(channels, _CHANNELS, 4, 2, 1)]
    else:
        for filters in (128, 256, 512, 1024):
            encoder += [nn.Conv2d(channels, filters, 5, 2, 2, bias=False)]
            encoder += [nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        encoder += [nn.Flatten(), nn.Linear(1024 * 16, 2 * latent_dim)]
        decoder += [nn.Linear(latent_dim, 1024 * 64), nn.Unflatten(1, (1024, 8, 8))]
        decoder += [nn.BatchNorm2d(1024), nn.ReLU()]
        for filters in (512, 256, 128):
            decoder += [nn.ConvTranspose2d(channels, filters, 5, 2, 2, 1, bias=False)]
            decoder += [nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        decoder += [nn.ConvTranspose2d(channels, _CHANNELS, 5, 1, 2)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def _resnet(latent_dim, width=16, groups=8):
    """Of kvae's width and depth by default: one block at each size of map but the largest."""
    from torch import nn

    def normalised(channels):
        return [nn.GroupNorm(groups, channels), nn.SiLU()]

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.branch = nn.Sequential(
                *normalised(channels), nn.Conv2d(channels, channels, 3, 1, 1), nn.SiLU(),
                nn.Conv2d(channels, channels, 3, 1, 1),
            )  # fmt: skip

        def forward(self, x):
            return x + self.branch(x)

    sizes = [width, 2 * width, 4 * width, 8 * width]
    encoder, channels = [], _CHANNELS
    for place, filters in enumerate(sizes):
        encoder += [nn.SiLU()] if place else []
        encoder += [nn.Conv2d(channels, filters, 4, 2, 1)]
        encoder += [Block(filters)] if place else []
        channels = filters
    encoder += [*normalised(channels), nn.Flatten(), nn.Linear(channels * 16, 2 * latent_dim)]
    decoder = [nn.Linear(latent_dim, channels * 16), nn.Unflatten(1, (channels, 4, 4))]
    for filters in sizes[-2::-1]:
        decoder += [Block(channels), *normalised(channels)]
        decoder += [nn.ConvTranspose2d(channels, filters, 4, 2, 1)]
        channels = filters
    decoder += [*normalised(channels), nn.ConvTranspose2d(channels, _CHANNELS, 4, 2, 1)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def torch_loss(encoder, decoder, variance_of_x, place, dtype):
    """Minus the ELBO of uint8 images `(batch, 3, 64, 64)`, as a function of them."""
    import torch

    def loss(x):
        x = x.float() / 255
        with torch.autocast(place, dtype, enabled=dtype != torch.float32):
            params = encoder(x)
        mean, variance = params.float().chunk(2, dim=1)
        variance = torch.nn.functional.softplus(variance) + 1e-6
        latent = mean + variance.sqrt() * torch.randn_like(mean)
        with torch.autocast(place, dtype, enabled=dtype != torch.float32):
            shown = decoder(latent)
        distortion = (x - shown.float()).square().flatten(1).sum(1) / (2 * variance_of_x)
        rate = (mean.square() + variance - variance.log() - 1).sum(1) / 2
        return (distortion + rate).mean()

    return loss


def pythae_trainer(networks, x, batch, folder, *, amp=False):
    """A trainer of pythae, ready: `train_step(1)` is an epoch of its training.

    Args:
        networks: encoder and decoder, torch modules.
        x: float32 images `(rows, 3, 64, 64)` in [0, 1].
        batch: rows of a batch.
        folder: where it may write.
        amp: whether it computes in half precision by itself.
    """
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            mean, log_variance = self.layers(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    torch.manual_seed(0)
    encoder, decoder = networks
    latent_dim = next(m for m in decoder.modules() if isinstance(m, torch.nn.Linear)).in_features
    trainer = BaseTrainer(
        model=VAE(
            VAEConfig(input_dim=x.shape[1:], latent_dim=latent_dim), Encoder(encoder),
            Decoder(decoder),
        ),
        train_dataset=BaseDataset(torch.from_numpy(x), torch.ones(len(x))),
        training_config=BaseTrainerConfig(
            output_dir=str(folder), num_epochs=1, amp=amp, per_device_train_batch_size=batch,
            learning_rate=_LEARNING_RATE, no_cuda=not torch.cuda.is_available(),
        ),
    )  # fmt: skip
    trainer.prepare_training()
    return trainer
