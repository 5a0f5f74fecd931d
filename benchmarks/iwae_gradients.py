"""The encoder's gradient of the importance-weighted bound: variance and signal of both estimators.

    python benchmarks/iwae_gradients.py [--epochs 20] [--repeats 200] [--json FILE]

A model of scikit-learn's digits (made binary by a threshold) is trained with each number of draws
K, by the plain gradient, so that both are measured at the same weights; then the gradient of the
same 64 train rows is drawn many times by each estimator. Variance: the sum over all weights of the
encoder, of the mean gradient of the rows. SNR, signal to noise: |mean| / standard deviation of a
weight, its mean over those that have a gradient (Rainforth et al., arXiv:1802.04537, show that the
plain one's falls as 1 / sqrt(K)). z: how far the means of both are apart, the root mean square over
the weights in standard errors; 1 where they are equal. ms: processor time of one gradient by all
weights.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kvae
from kvae.objectives.iwae import Iwae
from kvae.probability.noise import SeededNoise

ROWS, BATCH = 64, 128
DRAWS = (1, 4, 16, 64)


def _trained(x, draws, epochs):
    """A model after so many epochs of the plain gradient."""
    vae = kvae.build_vae(
        (64,), likelihood="bernoulli", prior="standard_normal", latent_dim=10,
        hidden_units=(64, 64), linear_path=False, objective="iwae", iwae_draws=draws, seed=0,
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(1e-3))
    keras.utils.set_random_seed(0)
    if epochs:
        vae.fit(x, batch_size=BATCH, epochs=epochs, verbose=0)
    return vae


def _gradient(vae, x, objective, variables):
    """A function of a seed: the gradient by some variables in one vector."""

    @tf.function
    def gradient(seeds):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(vae, x, SeededNoise(seeds), 0, True).loss)
        parts = tape.gradient(loss, variables)
        return tf.concat([tf.reshape(part, (-1,)) for part in parts], 0)

    count = len(x) * objective.draws
    return lambda repeat: gradient(tf.range(count, dtype=tf.int64) + repeat * count).numpy()


def _measured(vae, x, draws, repeats):
    """Estimator -> its figures."""
    found = {}
    for place, name in enumerate(("plain", "dreg")):
        of_encoder = _gradient(vae, x, Iwae(draws, name), vae.encoder.trainable_variables)
        drawn = np.array([of_encoder(place * repeats + one) for one in range(repeats)], "float64")
        mean, variance = drawn.mean(0), drawn.var(0, ddof=1)
        moves = variance > 0
        whole = _gradient(vae, x, Iwae(draws, name), vae.trainable_variables)
        whole(0)
        start = time.process_time()
        for one in range(20):
            whole(one)
        found[name] = {
            "variance": variance.sum(),
            "signal_to_noise": np.mean(np.abs(mean[moves]) / np.sqrt(variance[moves])),
            "seconds": (time.process_time() - start) / 20,
            "mean": mean, "of_mean": variance / repeats,
        }  # fmt: skip
    apart = found["plain"]["mean"] - found["dreg"]["mean"]
    error = found["plain"].pop("of_mean") + found["dreg"].pop("of_mean")
    z = np.sqrt(np.mean(np.square(apart[error > 0]) / error[error > 0]))
    for one in found.values():
        one.pop("mean")
    return found, float(z)


def main():
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=20, help="of training before (default: 20)")
    parser.add_argument("--repeats", type=int, default=200, help="gradients (default: 200)")
    parser.add_argument("--draws", default=",".join(map(str, DRAWS)), metavar="K,K")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    levels = kvae.data.load("digits", binarize="threshold").train.x.reshape(-1, 64)
    x = (levels / np.float32(255)).astype("float32")
    rows = []
    print("| K | variance, plain | dreg | ratio | SNR, plain | dreg | z | ms, plain | dreg |")
    print("|---|---|---|---|---|---|---|---|---|")
    for draws in map(int, arguments.draws.split(",")):
        vae = _trained(x, draws, arguments.epochs)
        found, z = _measured(vae, x[:ROWS], draws, arguments.repeats)
        plain, dreg = found["plain"], found["dreg"]
        print(
            f"| {draws} | {plain['variance']:.4g} | {dreg['variance']:.4g} "
            f"| {dreg['variance'] / plain['variance']:.3f} | {plain['signal_to_noise']:.3f} "
            f"| {dreg['signal_to_noise']:.3f} | {z:.2f} | {1e3 * plain['seconds']:.1f} "
            f"| {1e3 * dreg['seconds']:.1f} |",
            flush=True,
        )
        rows.append({"draws": draws, "z": z, **found})
    if arguments.json:
        given = {"epochs": arguments.epochs, "repeats": arguments.repeats, "rows": ROWS}
        Path(arguments.json).write_text(json.dumps({**given, "figures": rows}, indent=1))


if __name__ == "__main__":
    main()
