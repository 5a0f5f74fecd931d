"""Weights & Biases: python train.py --dataset digits --import docs/examples/track_wandb.py"""

from kvae.training.callbacks import CALLBACKS


@CALLBACKS.append
def tracker(config):
    """Start a run with all options, and send the figures of each epoch."""
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    wandb.init(project="kvae", name=config.name, config=config.to_dict())
    return WandbMetricsLogger()
