"""What serving costs beside the bare model: latency of signatures, throughput of bulk encoding.

    python benchmarks/serving_costs.py                        # latency, throughput
    python benchmarks/serving_costs.py --memory-rows 200000   # and the memory of bulk encoding
    taskset -c 0 python benchmarks/serving_costs.py --json costs.json   # of one core

A model of 64x64 images with the default network and untrained weights. Latency: `encode`, `decode`,
`generate` and `score` through the session loader, as TF Serving runs them, against its networks
alone as a `tf.function` (of `score` the encoder and the decoder of 16 draws), in turns. Throughput:
`kvae.encode` of JPEG files, in this process and in several, against a plain loop over the same
files: decoded by the same function, `predict_on_batch` of the encoder, nothing written. Each call
loads the model (and several processes TensorFlow): "of one image" is what that costs. Ratios above
1: faster than the loop. Memory: the largest resident set of `python -m kvae.encode` on parquet
files of 1/10 of the rows and of all of them, each of one row group.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def _photos(count, width=178, height=218):
    """JPEG files, smooth as photos are."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        small = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
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


def _seconds(function):
    """Seconds, and those of the processor with its children, of one call."""

    def used():
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    start, before = time.perf_counter(), used()
    function()
    return time.perf_counter() - start, used() - before


def throughput(vae, path, counts, rounds, processes):
    """Print images per second of bulk encoding and of a plain loop; a list of dicts."""
    from kvae import encode
    from kvae.encode.sources import Wanted

    wanted = Wanted(vae.element_shape, "center")
    found = []
    print(
        "| photos | images | way | images/s | loop / it | of processor time |\n"
        "|---|---|---|---|---|---|"
    )
    for (width, height), count in counts.items():
        with tempfile.TemporaryDirectory() as folder:
            photos = Path(folder) / "photos"
            photos.mkdir()
            for index, content in enumerate(_photos(count, width, height)):
                (photos / f"{index:06}.jpg").write_bytes(content)

            def loop(photos=photos):
                files = sorted(photos.iterdir())
                for start in range(0, len(files), 256):
                    x = [wanted.decode(file.read_bytes()) for file in files[start : start + 256]]
                    x = np.stack(x).astype(np.float32) / 255
                    vae.encoder.predict_on_batch(x)

            def bulk(processes, source=photos, folder=folder):
                output = Path(folder) / "out.parquet"
                output.unlink(missing_ok=True)
                encode.encode(path, source, output, processes=processes)

            ways = {"decode and predict in a loop": loop, "kvae.encode": partial(bulk, 1)}
            if processes > 1:
                ways[f"kvae.encode, {processes} processes"] = partial(bulk, processes)
            one = Path(folder) / "one"
            one.mkdir()
            (one / "0.jpg").write_bytes(content)
            ways["kvae.encode of one image"] = partial(bulk, 1, one)
            seconds = {name: [] for name in ways}
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                for _ in range(rounds):
                    for name, way in ways.items():
                        seconds[name].append(_seconds(way))
            *_, once = seconds.values()
            seconds["kvae.encode without that"] = np.subtract(seconds["kvae.encode"], once)
            base = np.median(next(iter(seconds.values())), axis=0)
            for name, own in seconds.items():
                wall, used = np.median(own, axis=0)
                print(
                    f"| {width}x{height} | {count} | {name} | {count / wall:.0f} | "
                    f"{base[0] / wall:.2f} | {base[1] / used:.2f} |",
                    flush=True,
                )
                found.append(
                    {"photos": [width, height], "images": count, "way": name, "wall": float(wall),
                     "processor": float(used)}
                )  # fmt: skip
    return found


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
    parser.add_argument("--images", type=int, default=6000, help="of 178x218; of 1000x1000 a tenth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--memory-rows", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    import kvae
    from kvae import publish

    vae = kvae.build_vae((64, 64, 3), latent_dim=64)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        version = publish.publish(vae, folder, "m", config={}, card={}, history={})
        if arguments.repeats:
            found["latency"] = latency(vae, version.path, arguments.repeats)
        if arguments.images:
            counts = {(178, 218): arguments.images, (1000, 1000): max(1, arguments.images // 10)}
            ways = counts, arguments.rounds, arguments.processes
            found["throughput"] = throughput(vae, version.path, *ways)
        if arguments.memory_rows:
            memory(version.path, arguments.memory_rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
