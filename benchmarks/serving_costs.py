"""What serving costs beside the bare model: latency of signatures, throughput of bulk encoding.

    python benchmarks/serving_costs.py                        # latency, throughput
    python benchmarks/serving_costs.py --memory-rows 200000   # and the memory of bulk encoding

A model of 64x64 images with the default network and untrained weights. Latency: `encode` and
`generate` through the session loader, as TF Serving runs them, against the same computation as a
`tf.function` of the Keras model, in turns. Throughput: `kvae.encode` of JPEG files (178x218)
against `keras.Model.predict` of the encoder on decoded images in memory, which decodes nothing, and
against the same preceded by the decoding. Memory: the largest resident set of `python -m
kvae.encode` on parquet files of 1/10 of the rows and of all of them, each of one row group.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def _photos(count):
    """JPEG files of 178x218, smooth as photos are."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        small = rng.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC).save(file, "JPEG")
        yield file.getvalue()


def _in_turns(functions, repeats):
    """`(repeats, 2)` of each function, called in turns: seconds, and those of the processor."""
    for function in functions.values():
        for _ in range(5):
            function()
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start, used = time.perf_counter(), time.process_time()
            function()
            seconds[name].append((time.perf_counter() - start, time.process_time() - used))
    return {name: np.array(found) for name, found in seconds.items()}


def _bare(vae):
    """Signature -> the networks alone, as functions of a batch: what nobody can do without."""
    import tensorflow as tf

    from kvae.scores import NUM_SCORE_DRAWS

    def decoded(rows):
        return vae.decoder(tf.random.stateless_normal((rows, vae.latent_dim), (1, 2)))

    functions = {
        "encode": lambda x: vae.encoder(x),
        "decode": lambda x: vae.decoder(x),
        "generate": lambda x: decoded(tf.shape(x)[0]),
        "score": lambda x: (vae.encoder(x), decoded(tf.shape(x)[0] * NUM_SCORE_DRAWS)),
    }
    return {name: tf.function(one, autograph=False) for name, one in functions.items()}


def latency(vae, path, repeats):
    """Print latency and throughput of signatures, and of the networks alone; a list of dicts."""
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    loader = tf.compat.v1.saved_model.loader
    signatures = loader.load(session, ["serve"], str(path)).signature_def

    def served(name, given):
        signature = signatures[name]
        ((key, value),) = given.items()
        # As a server does: what is looked up once is not looked up again.
        run = session.make_callable(
            [tensor.name for tensor in signature.outputs.values()], [signature.inputs[key].name]
        )
        return lambda: run(value)

    print(
        "| signature | rows | median, ms | p99, ms | rows/s | networks alone, ms | ratio | "
        "of processor time |\n|---|---|---|---|---|---|---|---|"
    )
    found = []
    for rows in (1, 64):
        rng = np.random.default_rng(0)
        x = {"x": rng.random((rows, *vae.element_shape), np.float32)}
        latent = {"latent": rng.standard_normal((rows, vae.latent_dim)).astype(np.float32)}
        given = {"encode": x, "decode": latent, "generate": {"seed": np.arange(rows)}, "score": x}
        for name, bare in _bare(vae).items():
            ((_, value),) = given[name].items()
            tensor = tf.constant(value)

            def alone(bare=bare, tensor=tensor):
                return [output.numpy() for output in tf.nest.flatten(bare(tensor))]

            pair = {"session": served(name, given[name]), "bare": alone}
            seconds = _in_turns(pair, repeats if name != "score" else max(repeats // 4, 5))
            (ours, used), (least, least_used) = (np.median(seconds[one], axis=0) for one in pair)
            last = np.quantile(seconds["session"][:, 0], 0.99)
            print(
                f"| {name} | {rows} | {1e3 * ours:.2f} | {1e3 * last:.2f} | {rows / ours:.0f} | "
                f"{1e3 * least:.2f} | {ours / least:.2f} | {used / least_used:.2f} |",
                flush=True,
            )
            figures = {
                "median": ours, "p99": last, "bare": least, "processor": used,
                "bare_processor": least_used,
            }  # fmt: skip
            figures = {key: float(value) for key, value in figures.items()}
            found.append({"signature": name, "rows": rows, **figures})
    return found


def throughput(vae, path, count):
    """Print images per second of bulk encoding and of `predict`."""
    from kvae import encode
    from kvae.encode.sources import Wanted

    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for index, content in enumerate(_photos(count)):
            (photos / f"{index:06}.jpg").write_bytes(content)
        start = time.perf_counter()
        encode.encode(path, photos, Path(folder) / "out.parquet")
        bulk = time.perf_counter() - start
        wanted = Wanted(vae.element_shape, "center")
        start = time.perf_counter()
        x = np.stack([wanted.decode(file.read_bytes()) for file in sorted(photos.iterdir())])
        decoding = time.perf_counter() - start
        x = x.astype(np.float32) / 255
        vae.encoder.predict(x[:256], batch_size=256, verbose=0)
        start = time.perf_counter()
        vae.encoder.predict(x, batch_size=256, verbose=0)
        predict = time.perf_counter() - start
    print(
        f"{count} JPEG files: python -m kvae.encode {count / bulk:.0f} images/s (loading the model "
        f"included); model.predict on decoded arrays {count / predict:.0f}; decoding on one core, "
        f"then predict {count / (decoding + predict):.0f}; ratio to the last "
        f"{(decoding + predict) / bulk:.2f}"
    )


def memory(path, rows):
    """Print the largest resident set of bulk encoding of a tenth of the rows and of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    contents = list(_photos(1000))
    with tempfile.TemporaryDirectory() as folder:
        for count in (rows // 10, rows):
            source = Path(folder) / f"{count}.parquet"
            # One row group, as most programs write it.
            rows = pa.array((contents * -(-count // 1000))[:count], pa.binary())
            pq.write_table(pa.table({"image": rows}), source, row_group_size=count)
            command = [
                sys.executable, "-m", "kvae.encode", "--model", str(path), "--input", str(source),
                "--output", f"{source}.out.parquet",
            ]  # fmt: skip
            code = (
                "import resource, subprocess, sys\n"
                "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
            )
            start = time.perf_counter()
            found = subprocess.run(
                [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
            print(
                f"{count} rows: {int(found.stdout) / 1024:.0f} MiB at most, "
                f"{count / seconds:.0f} rows/s",
                flush=True,
            )


def main():
    """Publish a model and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--memory-rows", type=int, default=0)
    arguments = parser.parse_args()
    import kvae
    from kvae import publish

    vae = kvae.build_vae((64, 64, 3), latent_dim=64)
    with tempfile.TemporaryDirectory() as folder:
        version = publish.publish(vae, folder, "m", config={}, card={}, history={})
        latency(vae, version.path, arguments.repeats)
        throughput(vae, version.path, arguments.images)
        if arguments.memory_rows:
            memory(version.path, arguments.memory_rows)


if __name__ == "__main__":
    main()
