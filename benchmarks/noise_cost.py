"""What the noise of a training step costs beside TensorFlow's own stateless generator, on the CPU.

python benchmarks/noise_cost.py [--rounds 300]

`StepNoise.training(...).normal` and `tf.random.stateless_normal` of the same size, in turns, by
tf.function and by XLA: 20 steps in a loop of the graph, so that the way in and out of it counts for
little. Medians in microseconds a step, and their ratio.
"""

import argparse
import statistics
import time

import tensorflow as tf

from kvae.probability.noise import StepNoise

SIZES = ((128, 50), (256, 3))
STEPS = 20


def loops(rows, size, jit_compile):
    """Name -> a function of the first step: the sum of the noise of all steps."""

    def looped(noise):
        @tf.function(jit_compile=jit_compile, autograph=False)
        def run(first):
            return tf.while_loop(
                lambda step, total: step < first + STEPS,
                lambda step, total: (step + 1, total + noise(step)),
                (first, tf.zeros((rows, size))),
                parallel_iterations=1,
            )[1]

        return run

    def step_noise(step):
        return StepNoise.training(0, step, tf.range(rows)).normal("posterior", size)

    def stateless_normal(step):
        return tf.random.stateless_normal((rows, size), tf.stack([0, step]))

    return {"step_noise": looped(step_noise), "stateless_normal": looped(stateless_normal)}


def medians(functions, rounds):
    """Name -> the median time of a step in microseconds, the functions taken in turns."""
    seconds = {name: [] for name in functions}
    for number in range(rounds + 20):
        first = tf.constant(number * STEPS)
        for name, function in functions.items():
            start = time.perf_counter()
            function(first).numpy()
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e6 * statistics.median(own[20:]) / STEPS for name, own in seconds.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="loops of each")
    rounds = parser.parse_args().rounds
    with tf.device("CPU:0"):
        for rows, size in SIZES:
            for jit_compile in (False, True):
                found = medians(loops(rows, size, jit_compile), rounds)
                ratio = found["step_noise"] / found["stateless_normal"]
                shown = ", ".join(f"{name} {value:.0f} us" for name, value in found.items())
                how = "XLA" if jit_compile else "tf.function"
                print(f"({rows}, {size}) {how}: {shown}, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
