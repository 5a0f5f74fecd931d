"""Densities of latents that are fitted after training: one file each, listed in SAMPLERS.

A member is a function

    fit(train, valid, *, prior, seed, **own) -> Prior

of draws from the posteriors of the train and of the valid split, NumPy `(rows, latent_dim)`, of
the prior that the model was trained with and of its own declared options; it prints a line about
what it chose. `generate` draws from what it returns, and nothing else changes. It helps where the
posteriors together are far from the prior; what both say of held-out draws is printed.

Source: Ghosh et al., "From variational to deterministic autoencoders", ICLR 2020, section 4, for
fitting afterwards.
"""

from typing import Any, Literal

from kvae.priors import FLOW_OPTIONS, DensityMember, flow_parameters, flow_turns
from kvae.registry import Member

SamplerName = Literal["mixture", "flow", "second-stage"]


def _mixture() -> Any:
    from kvae.samplers import mixture

    return mixture.fit


def _flow() -> Any:
    from kvae.samplers import flow

    return flow.fit


def _second_stage() -> Any:
    from kvae.samplers import second_stage

    return second_stage.fit


SAMPLERS: dict[str, Member] = {
    "mixture": DensityMember(
        "mixture of Gaussians, as many as held-out likelihood asks for", _mixture,
        parameters=lambda latent_dim, element_shape: latent_dim**2,  # of one component
    ),
    "flow": DensityMember(
        "normalising flow of affine coupling layers", _flow, FLOW_OPTIONS,
        least_latent_dim=2, parameters=flow_parameters, constants=flow_turns,
    ),
    "second-stage": Member("a second VAE, of the latents; has no exact density", _second_stage),
}  # fmt: skip
