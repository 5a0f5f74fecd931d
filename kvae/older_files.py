"""What files made by kvae 0.1 say otherwise."""

import keras

from kvae.objectives.elbo import Elbo
from kvae.objectives.iwae import Iwae


def with_objective(config):
    """A model's config with the objective as a part of its own, which were options once.

    Args:
        config: of a `kvae.VAE`, of any age.

    Returns:
        It as `VAE.get_config` gives it today.
    """
    old = ("iwae_draws", "beta", "free_bits", "tc_weight")
    if old[0] not in config:
        return config
    draws, beta, free_bits, tc_weight = (config[name] for name in old)
    if config["objective"] == "iwae":
        objective = Iwae(draws)
    else:
        objective = Elbo(keras.saving.deserialize_keras_object(beta), free_bits, tc_weight)
    kept = {name: value for name, value in config.items() if name not in old}
    return {**kept, "objective": keras.saving.serialize_keras_object(objective)}
