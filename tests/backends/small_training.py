"""train.py on few rows, several times in one process that holds no other backend.

    python tests/backends/small_training.py jax FOLDER

publishes FOLDER/saved/gmm/1, and answers in FOLDER/answer.json.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import train
from kvae import publish
from kvae.data import gmm

SEEDS = [3, 2**40]
_published = publish.publish


def x_of(count):
    """Points to encode, and their conditions."""
    return [[0.1 * i, 0.5, -0.2] for i in range(count)], [[1.0, 0.0]] * count


def _cut(start):
    """Have a training fail at its first step, behind a checkpoint."""
    import keras

    from kvae.training.callbacks import CALLBACKS
    from kvae.training.keeping import saving

    class Cut(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                raise SystemError("cut")

    CALLBACKS.append(lambda config: Cut())
    with mock.patch.object(saving, "SECONDS_BETWEEN", 0.0):
        try:
            start()
            raise AssertionError("nothing was cut")
        except SystemError:
            CALLBACKS.clear()


def main(name, folder):
    """Train; answer what the models gave in this process."""
    answer = {"models": []}

    def publishing(vae, *given, **named):
        """Publish the first model alone: it takes most of the time."""
        import keras
        import numpy as np

        as_list = lambda value: keras.ops.convert_to_numpy(value).tolist()  # noqa: E731
        found = {"step": int(vae.step), "history": named["history"]}
        if vae.condition_dim:
            x, condition = (np.array(part, "float32") for part in x_of(2))
            found["mean"] = as_list(vae.encode((x, condition))[0])
            found["generated"] = as_list(vae.generate(2, condition=condition, row_seeds=SEEDS))
        answer["models"].append(found)
        if len(answer["models"]) == 1:
            return _published(vae, *given, **named)
        return mock.Mock(path=Path(folder))

    common = ["--backend", name, "--save", f"{folder}/saved", "--epochs", "2"]
    points = [
        *common, "--dataset", "gmm", "--gmm-components", "2", "--condition", "component",
        "--hidden-units", "8", "--batch-size", "100", "--prior-components", "2",
        "--posterior", "diagonal", "--variance", "shared",
    ]  # fmt: skip
    with (
        mock.patch.multiple(gmm, NUM_TRAIN=400, NUM_VALID=200, NUM_TEST=200),
        mock.patch.object(publish, "publish", publishing),
    ):
        train.main([*points, "--devices", "2", "--dry-run"])  # before one device computes
        train.main([*points, "--ema-momentum", "0.5"])
        train.main(
            [*points, "--epochs", "0", "--init-from", f"{folder}/saved/gmm/1", "--sampler", "none"]
        )
        from kvae.training import run

        # Seconds, and the points have had it.
        run.consulting = lambda config, fitted: lambda: None
        images = [
            *common, "--dataset", "digits", "--flip", "--batch-size", "500", "--epochs", "1",
            "--latent-dim", "2", "--prior", "standard_normal", "--sampler", "none",
        ]  # fmt: skip
        train.main(images)
        _cut(lambda: train.main([*images, "--name", "cut"]))
        train.main([*images, "--name", "cut"])
    import keras

    answer["backend"] = keras.backend.backend()
    Path(folder, "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
