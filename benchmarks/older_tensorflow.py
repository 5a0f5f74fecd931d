"""A version published here, in the session loader of another TensorFlow.

    python3.11 -m venv other && other/bin/pip install tensorflow==2.20.0
    python benchmarks/older_tensorflow.py --python other/bin/python

Publishes a model of images, lets the other interpreter answer the warm-up requests, and prints how
far its answers are from those of the publication, relative to max(1, |value|).
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

OTHER = """
import sys
import numpy as np
import tensorflow as tf
folder, given, found = sys.argv[1:]
session = tf.compat.v1.Session(graph=tf.Graph())
loader = tf.compat.v1.saved_model.loader
signatures = loader.load(session, ["serve"], folder).signature_def
given = np.load(given, allow_pickle=True)
answers = {}
for name, signature in signatures.items():
    if name.startswith("__"):
        continue
    feed = {one.name: given[f"{name}/{key}"] for key, one in signature.inputs.items()}
    outputs = session.run({key: one.name for key, one in signature.outputs.items()}, feed)
    answers.update({f"{name}/{key}": value for key, value in outputs.items()})
np.savez(found, **answers)
print(tf.__version__)
"""


def main():
    """Publish, ask, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="interpreter that has another TensorFlow")
    arguments = parser.parse_args()
    import kvae
    from kvae import publish
    from kvae.publish import warmup
    from kvae.serving import versions

    vae = kvae.build_vae((32, 32, 3), latent_dim=8, prior="mixture")
    with tempfile.TemporaryDirectory() as folder:
        version = publish.publish(vae, folder, "m", config={}, card={}, history={})
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(
            given,
            **{
                f"{signature}/{name}": value
                for signature, inputs in warmup.requests(version.path)
                for name, value in inputs.items()
            },
        )
        asked = subprocess.run(
            [arguments.python, "-c", OTHER, version.path, given, found],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        worst = {}
        with np.load(version.path / versions.PROBE) as then, np.load(found) as now:
            if set(then) != set(now):
                raise SystemExit(f"other outputs: {sorted(set(then) ^ set(now))}")
            for name in then:
                scale = np.maximum(1.0, np.abs(then[name]))
                worst[name] = float(np.max(np.abs(now[name] - then[name]) / scale))
    print(f"TensorFlow {asked.stdout.strip()}: {len(worst)} outputs, the worst")
    for name in sorted(worst, key=worst.get, reverse=True)[:3]:
        print(f"  {name}: {worst[name]:.1e}")
    raise SystemExit(max(worst.values()) > 1e-5)


if __name__ == "__main__":
    main()
