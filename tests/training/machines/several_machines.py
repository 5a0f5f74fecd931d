"""train.py as one machine of several, with few rows and a checkpoint after each epoch.

    TF_CONFIG=... python tests/training/machines/several_machines.py [dies] ARGUMENT ...

With "dies" it kills itself at the end of its second epoch.
"""

import os
import signal
import sys
from unittest import mock

import train
from kvae.data import gmm

ARGUMENTS = [
    "--dataset", "gmm", "--gmm-components", "2", "--condition", "component", "--hidden-units", "8",
    "--batch-size", "100", "--prior", "standard_normal", "--posterior", "diagonal",
    "--variance", "optimal", "--sampler", "none", "--epochs", "4", "--clip-norm", "5",
    "--ema-momentum", "0.5", "--no-jit-compile",
]  # fmt: skip


def main(arguments):
    """Train."""
    from kvae.backend import quiet_import

    quiet_import("kvae.training.run")
    import keras

    from kvae.training import callbacks
    from kvae.training.keeping import saving

    def dies(epoch, logs):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    if arguments[:1] == ["dies"]:
        callbacks.CALLBACKS.append(lambda _: keras.callbacks.LambdaCallback(on_epoch_begin=dies))
    with (
        mock.patch.multiple(gmm, NUM_TRAIN=400, NUM_VALID=201, NUM_TEST=200),
        mock.patch.object(saving, "SECONDS_BETWEEN", 0.0),
        mock.patch.object(saving, "_SHARE", 1e9),
    ):
        train.main([*ARGUMENTS, *(one for one in arguments if one != "dies")])


if __name__ == "__main__":
    main(sys.argv[1:])
