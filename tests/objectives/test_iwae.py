"""The two gradients of the importance-weighted bound: of one mean, and what each is exactly."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kvae_testing import make_vae

from kvae.config import resolve
from kvae.errors import UsageError
from kvae.likelihoods.gaussian import Gaussian
from kvae.model import VAE
from kvae.objectives.iwae import Iwae
from kvae.priors.standard_normal import StandardNormal
from kvae.probability.noise import SeededNoise

X = np.random.default_rng(0).normal(size=(1, 3)).astype("float32")
MODELS = {
    "diagonal": {"prior": "standard_normal", "variance": "shared"},
    # Its pseudo-inputs go through the encoder, which is a part of p(x, z) then.
    "full": {"prior": "vamp", "posterior": "full", "variance": 0.3},
    "conditional": {"prior": "mixture", "condition_dim": 2, "variance": 0.3},
}


def _x(vae, rows):
    x = np.repeat(X, rows, axis=0)
    return (x, np.full((rows, 2), 0.5, "float32")) if vae.condition_dim else x


def _gradients(vae, objective, rows, training=True):
    """A function of seeds: the gradient of the mean loss of so many rows, by all weights."""

    @tf.function
    def gradients(seeds):
        with tf.GradientTape() as tape:
            found = objective(vae, _x(vae, rows), SeededNoise(seeds), 0, training)
            loss = tf.reduce_mean(found.loss)
        parts = tape.gradient(loss, vae.trainable_variables, unconnected_gradients="zero")
        return tf.concat([tf.reshape(part, (-1,)) for part in parts], 0), found.loss

    return gradients


@pytest.mark.parametrize("name", MODELS)
def test_both_gradients_have_one_mean(name):
    draws, rows, batches = 3, 400, 40
    vae = make_vae((3,), hidden_units=(3,), **MODELS[name])
    plain, dreg = (_gradients(vae, Iwae(draws, gradient), rows) for gradient in ("plain", "dreg"))
    count = rows * draws
    found = []
    for batch in range(batches):
        own, other = (np.arange(count) + start * 10**6 for start in (batch, batch + batches))
        found.append((plain(own)[0].numpy(), dreg(other)[0].numpy()))
    found = np.array(found, "float64")
    means, errors = found.mean(0), found.std(0, ddof=1) / np.sqrt(batches)
    error = np.hypot(*errors)
    moves = error > 1e-7
    z = (means[0] - means[1])[moves] / error[moves]
    assert np.square(z).mean() < 4  # 1 in the mean; of weights that move together it spreads
    assert np.abs(z).max() < 5
    # There was something to find: of the gradient most parts are far from 0.
    assert np.median(np.abs(means[0])[moves] / error[moves]) > 4


def test_by_the_decoder_both_are_the_same_at_every_draw():
    vae = make_vae((3,), variance="shared")
    seeds = np.arange(4 * 5)
    (plain, loss), (dreg, same) = (
        _gradients(vae, Iwae(5, gradient), 4)(seeds) for gradient in ("plain", "dreg")
    )
    np.testing.assert_allclose(same, loss, rtol=1e-6)
    by_encoder = sum(weight.size for weight in map(np.asarray, vae.encoder.trainable_variables))
    sizes = [np.asarray(weight).size for weight in vae.trainable_variables]
    at = np.cumsum([0, *sizes])
    of_encoder = {id(weight) for weight in vae.encoder.trainable_variables}
    mask = np.zeros(at[-1], bool)
    for place, weight in enumerate(vae.trainable_variables):
        mask[at[place] : at[place + 1]] = id(weight) in of_encoder
    assert mask.sum() == by_encoder
    np.testing.assert_allclose(dreg[~mask], plain[~mask], rtol=1e-4, atol=1e-5)
    assert np.abs(dreg[mask] - plain[mask]).max() > 0.01


@pytest.mark.parametrize("draws", [1, 4])
def test_at_the_true_posterior_the_encoder_has_no_gradient(any_ppca, draws):
    """There every weight is p(x), whatever z: the plain gradient moves about 0, this one is 0."""
    vae = any_ppca.vae()
    x = any_ppca.sample(6)

    def largest(gradient):
        with tf.GradientTape() as tape:
            noise = SeededNoise(np.arange(6 * draws))
            loss = tf.reduce_mean(Iwae(draws, gradient)(vae, x, noise, 0, True).loss)
        return max(np.abs(part).max() for part in tape.gradient(loss, vae.encoder.weights))

    assert largest("dreg") < 1e-4
    assert largest("plain") > 1e-2


def test_of_one_draw_it_is_the_path_derivative_of_the_elbo():
    vae = make_vae((3,), variance=0.3)
    x, noise = np.repeat(X, 5, axis=0), SeededNoise(np.arange(5))
    eps = noise.normal("posterior", 2)
    with tf.GradientTape() as tape:
        mean, raw = tf.split(vae.encoder(x), 2, axis=1)
        variance = tf.math.softplus(raw) + 1e-8
        z = mean + tf.sqrt(variance) * eps
        held = [tf.stop_gradient(part) for part in (mean, variance)]
        log_q = -0.5 * tf.reduce_sum(
            tf.math.log(2 * np.pi * held[1]) + tf.square(z - held[0]) / held[1], axis=1
        )
        log_p = vae.decode(z).log_prob(x) - 0.5 * tf.reduce_sum(
            tf.square(z) + np.log(2 * np.pi), axis=1
        )
        loss = tf.reduce_mean(log_q - log_p)
    wanted = tape.gradient(loss, vae.encoder.weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(Iwae(1, "dreg")(vae, x, noise, 0, True).loss)
    for ours, theirs in zip(tape.gradient(loss, vae.encoder.weights), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_where_nothing_trains_it_is_the_plain_one():
    vae = make_vae((3,))
    seeds = np.arange(8)
    plain, dreg = (
        _gradients(vae, Iwae(2, gradient), 4, training=False)(seeds)[0]
        for gradient in ("plain", "dreg")
    )
    np.testing.assert_array_equal(plain, dreg)


def test_files_and_options_say_which():
    assert Iwae(3).get_config() == {"draws": 3}  # as files of before
    restored = Iwae.from_config(Iwae(3, "dreg").get_config())
    assert (restored.draws, restored.gradient) == (3, "dreg")
    with pytest.raises(UsageError, match="gradient: choose one of plain, dreg; received 'drge'"):
        Iwae(3, "drge")
    config = resolve({"objective": "iwae", "iwae_gradient": "dreg"})
    assert config.own("objective") == {"iwae_draws": 8, "iwae_gradient": "dreg"}
    vae = make_vae((3,), objective="iwae", iwae_draws=2, iwae_gradient="dreg")
    vae.compile(keras.optimizers.SGD(1e-2))
    before = [np.copy(weight) for weight in vae.get_weights()]
    vae.fit(np.repeat(X, 8, axis=0), batch_size=4, verbose=0)
    changed = [(a != b).any() for a, b in zip(before, vae.get_weights(), strict=True)]
    assert all(changed)


def _networks(layer):
    """An encoder and a decoder for x of 3 and z of 2, with a layer that `layer` makes or None."""
    found = []
    for size, outputs, place in ((3, 4, 0), (2, 3, 1)):
        x = inputs = keras.Input((size,))
        x = keras.layers.Dense(3)(x)
        if own := layer(place):
            x = keras.Sequential([own])(x)
        found.append(keras.Model(inputs, keras.layers.Dense(outputs)(x)))
    return found


def _vae(layer, gradient):
    encoder, decoder = _networks(layer)
    return VAE(encoder, decoder, Gaussian(1.0), StandardNormal(), objective=Iwae(2, gradient))


@pytest.mark.parametrize(
    ("make", "places", "words"),
    [
        (keras.layers.BatchNormalization, (0, 1), "does not go with batch normalisation"),
        (lambda: keras.layers.GaussianNoise(0.1, name="spread"), (1,), "at random.*spread"),
        (lambda: keras.layers.Dropout(0.5, name="left"), (1,), "at random.*received left"),
        (lambda: keras.layers.Dense(3, activity_regularizer="l2"), (1,), "losses of what a decod"),
    ],
)
def test_networks_that_tie_draws_or_differ_by_pass_are_refused_of_dreg(make, places, words):
    for place in places:
        with pytest.raises(UsageError, match=words):
            _vae(lambda own, place=place: make() if own == place else None, "dreg")
        _vae(lambda own, place=place: make() if own == place else None, "plain")
    assert _vae(lambda _: keras.layers.LayerNormalization(), "dreg").objective.gradient == "dreg"


def test_losses_that_a_decoder_adds_are_refused_of_dreg_before_they_train():
    class Costly(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(keras.ops.square(x)))
            return x

    for place in (0, 1):
        vae = _vae(lambda own, place=place: Costly() if own == place else None, "dreg")
        vae.compile(keras.optimizers.SGD(0.1))
        if place == 0:
            assert float(vae.examined(X).penalty) > 0
            continue
        before = vae.get_weights()
        with pytest.raises(UsageError, match="losses of what a decoder computes"):
            vae.fit(X, verbose=0)
        for old, now in zip(before, vae.get_weights(), strict=True):
            np.testing.assert_array_equal(old, now)


def test_a_preset_that_normalises_by_batch_is_refused_of_dreg_at_once():
    given = {"dataset": "folder", "network": "conv-large", "objective": "iwae", "variance": 1.0}
    words = "--iwae-gradient.* does not go with batch normalisation.*'plain'"
    assert resolve(given).network == "conv-large"
    with pytest.raises(UsageError, match=words):
        resolve({**given, "iwae_gradient": "dreg"})
