"""The signatures of a served VAE: what goes in, what comes out, and what it means.

Every signature takes and returns a flat dict whose first dimension is the batch, and treats every
row on its own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from kvae.data.conditions import companion
from kvae.data.images.crops import least_size
from kvae.data.images.decoding import MAX_REQUEST_PIXELS, MAX_SERVED_PIXELS
from kvae.directions import Directions
from kvae.model import VAE
from kvae.probability.noise import SeededNoise
from kvae.scores import NUM_DRAWS, NUM_SCORE_DRAWS, draws_at_once, score_terms, weight_draws
from kvae.serving.image_bytes import images_of

#: kind of data -> what the output `sample` holds.
SAMPLE_IS = {
    "images": "the decoder's mean at a drawn latent",
    "vectors": "a draw from p(x given z) at a drawn latent, noise included",
}
ROWS = ("x", "start", "end")  # inputs that are an x
_X = (*ROWS, "image_bytes")


class Endpoint(NamedTuple):
    """One signature.

    Args:
        function: tensors, in the order of `inputs` -> dict of tensors.
        inputs: specs whose names are the names of the inputs.
        help: what it answers, one line.
    """

    function: Callable[..., dict[str, Any]]
    inputs: tuple[tf.TensorSpec, ...]
    help: str


class Meaning(NamedTuple):
    """What the numbers of an input or output say.

    Args:
        text: one line.
        unit: of the numbers.
        range: the least and the largest that make sense; None: any finite number.
    """

    text: str
    unit: str = "1"
    range: tuple[float, float] | None = None


def meanings(vae: VAE, *, binary: bool = False) -> dict[str, Meaning]:
    """Name of an input or output -> its meaning, which is the same in every signature.

    Args:
        vae: the model.
        binary: whether a row of x has no number but 0 and 1.
    """
    images = len(vae.element_shape) == 3
    levels = vae.value_range if images else (0.0, 1.0) if binary else None
    unit = "grey level, 0 black to 1 white" if levels else "that of the data"
    own = unit
    if binary:
        own = f"{unit}: 0 or 1, a row of other numbers answers NaN"
    elif vae.likelihood.kind == "bernoulli":
        own = f"{unit}: 0 or 1, other numbers have the likelihood 0"
    row = "an image" if images else "a row of data"
    share = (0.0, 1.0)
    integers = (-(2**63), 2**63 - 1)
    decoded = "the mean of p(x given z)"
    condition = "numbers made of labels, in the order of condition.names"
    log_weight = "log p(x given z) + log p(z) - log q(z given x) at the draw"
    bound = f"the importance-weighted lower bound of log p(x) of {NUM_DRAWS} draws"
    return {
        "x": Meaning(row, own, levels),
        "start": Meaning(f"{row} where the line begins", own, levels),
        "end": Meaning(f"{row} where the line ends", own, levels),
        "image_bytes": Meaning("a JPEG or PNG file, whole", "bytes"),
        "fraction": Meaning("how far from start (0) to end (1)", range=share),
        "seed": Meaning("of everything that is drawn for the row", range=integers),
        "latent": Meaning("a point of latent space, z"),
        "condition": Meaning(condition, range=share),
        "start_condition": Meaning(f"{condition}, of start", range=share),
        "end_condition": Meaning(f"{condition}, of end", range=share),
        "attribute_strength": Meaning(
            "how often each attribute is added, in the order of directions.names"
        ),
        "reconstruction": Meaning(f"{decoded} at the posterior mean, not clipped", unit),
        "decoded": Meaning(f"{decoded}, not clipped", unit),
        "decoded_variance": Meaning("the variance of p(x given z)", f"({unit}) squared"),
        "edited": Meaning(f"{decoded} at the moved latent, not clipped", unit),
        "interpolated": Meaning(f"{decoded} at the point of the line, not clipped", unit),
        "sample": Meaning(f"{SAMPLE_IS['images' if images else 'vectors']}, not clipped", unit),
        "mean": Meaning("the mean of the posterior q(z given x)"),
        "variance": Meaning("the variance of the posterior, of each latent by itself"),
        "elbo": Meaning("the evidence lower bound, -(distortion + rate)", "nats"),
        "distortion": Meaning("-log p(x given z)", "nats"),
        "rate": Meaning("what the latent costs: KL(q, p), or log q - log p at a draw", "nats"),
        "log_weight": Meaning(log_weight, "nats"),
        "log_weight_sampler": Meaning(f"{log_weight}, with the sampler's density for p(z)", "nats"),
        "log_likelihood": Meaning(bound, "nats"),
        "log_likelihood_sampler": Meaning(f"{bound}, with the sampler's density for p(z)", "nats"),
    }


def endpoints(
    vae: VAE,
    directions: Directions | None = None,
    crop: str = "center",
    *,
    binarize: bool = False,
) -> dict[str, Endpoint]:
    """The signatures of a float32 VAE by name.

    Those of a conditional model take a condition beside each x (`condition`, `start_condition`,
    `end_condition`), or where there is no x one for what they make.

    Args:
        vae: from `kvae.serving.export.float32_twin`.
        directions: of attributes, for the signature `edit`; None: there is none.
        crop: what is kept of the images that `encode_bytes` and `reconstruct_bytes` are given, see
            `kvae.serving.image_bytes.images_of`. Only models of square images of 1 or 3 channels
            have them, and a crop whose box is larger than what is served has none.
        binarize: whether the pixels of files become 0 or 1, at one half: also where training drew
            them, of which that is the likeliest draw.
    """
    found = _plain_endpoints(vae, directions)
    if vae.value_range:  # files hold levels
        found |= _bytes_endpoints(found, vae.element_shape, crop, binarize)
    if not vae.condition_dim:
        return found
    return {name: _conditional(endpoint, vae.condition_dim) for name, endpoint in found.items()}


def _conditional(endpoint: Endpoint, dim: int) -> Endpoint:
    """The endpoint, its function given pairs (x, condition), or the condition as last argument."""
    names = [spec.name for spec in endpoint.inputs]
    pairs = {name: companion(name) for name in names if name in _X}
    inputs = []
    for spec in endpoint.inputs:
        inputs.append(spec)
        if spec.name in pairs:
            inputs.append(_condition(dim, pairs[spec.name]))
    if not pairs:
        inputs.append(_condition(dim, "condition"))

    def function(*tensors):
        given = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
        arguments = [
            (given[name], given[pairs[name]]) if name in pairs else given[name] for name in names
        ]
        return endpoint.function(*arguments, *([] if pairs else [given["condition"]]))

    between = "the conditions of both ends mixed too" if len(pairs) > 1 else "given the condition"
    return Endpoint(function, tuple(inputs), f"{endpoint.help}; {between}")


def _condition(dim, name):
    return tf.TensorSpec((None, dim), tf.float32, name=name)


def _plain_endpoints(vae, directions):
    x = tf.TensorSpec((None, *vae.element_shape), tf.float32, name="x")
    start, end = (
        tf.TensorSpec((None, *vae.element_shape), tf.float32, name=name)
        for name in ("start", "end")
    )
    fraction = tf.TensorSpec((None,), tf.float32, name="fraction")
    seed = tf.TensorSpec((None,), tf.int64, name="seed")
    latent = tf.TensorSpec((None, vae.latent_dim), tf.float32, name="latent")
    draws = _Draws(vae)
    edit = {} if directions is None else {"edit": _edit(vae, x, directions)}
    return edit | {
        "serving_default": Endpoint(
            lambda x: {"reconstruction": vae(x)},
            (x,),
            "mean of p(x given z) at the posterior mean",
        ),
        "encode": Endpoint(
            lambda x: dict(zip(("mean", "variance"), vae.encode(x), strict=True)),
            (x,),
            "mean and variance of the posterior q(z given x)",
        ),
        "sample_posterior": Endpoint(
            lambda x, seed: {"latent": vae.posterior(x).sample(SeededNoise(seed), "posterior")},
            (x, seed),
            "one draw from the posterior",
        ),
        "decode": Endpoint(
            lambda latent, condition=None: _decode(vae, latent, condition),
            (latent,),
            "mean and variance of p(x given z)",
        ),
        "generate": Endpoint(
            lambda seed, condition=None: _generate(vae, vae.sampler, seed, condition),
            (seed,),
            "a sample from the fitted sampler if there is one, else from the prior",
        ),
        "generate_from_prior": Endpoint(
            lambda seed, condition=None: _generate(vae, vae.prior, seed, condition),
            (seed,),
            "a sample from the training prior",
        ),
        "interpolate": Endpoint(
            lambda start, end, fraction: dict(
                zip(
                    ("interpolated", "latent"),
                    vae.interpolate(start, end, fraction),
                    strict=True,
                )
            ),
            (start, end, fraction),
            "a point of the straight line between two posterior means, decoded",
        ),
        "score": Endpoint(
            draws.score,
            (x,),
            f"mean over {NUM_SCORE_DRAWS} fixed antithetic draws, nats; for ranking rows",
        ),
        "log_weight": Endpoint(
            lambda x, seed: _log_weight(vae, x, seed),
            (x, seed),
            "log p(x given z) + log p(z) - log q(z given x) at one draw z, its two parts, nats; "
            "_sampler: with the sampler's density for p(z)",
        ),
        "log_likelihood": Endpoint(
            draws.log_likelihood,
            (x, seed),
            f"importance-weighted lower bound of log p(x) with {NUM_DRAWS} draws, nats",
        ),
    }


def _bytes_endpoints(plain, shape, crop, binarize):
    """`encode` and `serving_default` of image files."""
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        return {}
    if math.prod(least_size(crop)) > MAX_SERVED_PIXELS:
        return {}
    image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")

    def of_bytes(function):
        def decoded(given):
            content, *condition = given if isinstance(given, tuple) else (given,)
            x = images_of(content, crop, shape[0], shape[2], binarize=binarize)
            return function((x, *condition) if condition else x)

        return decoded

    made = ", its levels made 0 or 1 at one half" if binarize else ""
    return {
        name: Endpoint(
            of_bytes(plain[of].function),
            (image_bytes,),
            f"{plain[of].help}, of a JPEG or PNG file of at most {MAX_SERVED_PIXELS:,} pixels, all "
            f"of a request of at most {MAX_REQUEST_PIXELS:,}{made}",
        )
        for name, of in (("encode_bytes", "encode"), ("reconstruct_bytes", "serving_default"))
    }


def _edit(vae, x, directions):
    strength = tf.TensorSpec((None, len(directions.names)), tf.float32, name="attribute_strength")
    vectors = tf.constant(directions.vectors, tf.float32)

    def edited(x, strength):
        latent = vae.posterior(x).mean() + tf.matmul(strength, vectors)
        return {"edited": vae.decode(latent, vae.condition_of(x)).mean()}

    return Endpoint(
        edited,
        (x, strength),
        "the reconstruction with attributes moved by what each adds to the mean latent, times its "
        f"strength (-1: taken away); in this order: {', '.join(directions.names)}",
    )


def _densities(vae):
    """Output suffix -> density of latents: the prior, and the sampler if it has a density."""
    exact = vae.has_sampler and vae.sampler.exact_density
    return {"": vae.prior, **({"_sampler": vae.sampler} if exact else {})}


def _log_weight(vae, x, seed):
    densities = _densities(vae)
    terms = vae.weight_terms(x, SeededNoise(seed), densities=tuple(densities.values()))
    weights = {
        f"log_weight{suffix}": term.log_weight
        for suffix, term in zip(densities, terms, strict=True)
    }
    return {**weights, **terms[0]._asdict()}


def _decode(vae, latent, condition):
    distribution = vae.decode(latent, condition)
    return {"decoded": distribution.mean(), "decoded_variance": distribution.variance()}


def _generate(vae, density, seed, condition):
    noise = SeededNoise(seed)
    latent = density.sample(noise)
    return {"sample": vae.show(vae.decode(latent, condition), noise), "latent": latent}


class _Draws:
    """Signatures that take several draws a row, in chunks of bounded memory."""

    def __init__(self, vae):
        self._vae = vae

    def log_likelihood(self, x, seed):
        """log of the mean of the exponentials of `NUM_DRAWS` log-weights."""
        posterior, densities = self._vae.posterior(x), _densities(self._vae)

        def chunk(draws):
            found = weight_draws(
                self._vae, x, seed, posterior, draws, tuple(densities.values())
            )  # fmt: skip
            return tf.stack(found, axis=1)

        weights = self._over_chunks(chunk, NUM_DRAWS)
        bounds = tf.reduce_logsumexp(weights, axis=1) - math.log(NUM_DRAWS)
        return {
            f"log_likelihood{suffix}": bounds[:, place] for place, suffix in enumerate(densities)
        }

    def score(self, x):
        """The ELBO and its parts, with the same draws for every row and every call."""
        posterior = self._vae.posterior(x)

        def chunk(draws):
            return tf.stack(score_terms(self._vae, x, posterior, draws), axis=1)

        terms = tf.reduce_mean(self._over_chunks(chunk, NUM_SCORE_DRAWS), axis=1)
        distortion, rate = tf.unstack(terms, axis=1)
        return {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}

    def _over_chunks(self, chunk, num_draws):
        """`chunk(draws)` of `(batch * draws, ...)` for all draws, as `(batch, num_draws, ...)`."""
        per_chunk = math.gcd(num_draws, draws_at_once(self._vae, num_draws))
        draws = tf.reshape(tf.range(num_draws), (-1, per_chunk))

        def rows(draws):
            draws = tf.ensure_shape(draws, (per_chunk,))
            values = chunk(draws)
            return tf.reshape(values, (-1, per_chunk, *values.shape[1:]))

        if draws.shape[0] == 1:
            return rows(draws[0])
        parts = tf.map_fn(rows, draws, fn_output_signature=tf.float32, parallel_iterations=1)
        # (chunks, batch, per_chunk, ...) -> (batch, chunks * per_chunk, ...)
        order = [1, 0, *range(2, len(parts.shape))]
        return tf.reshape(tf.transpose(parts, order), (-1, num_draws, *parts.shape[3:]))
