"""How long an answer of kvae explore takes: a slider, a seed, an upload, a line, neighbours.

    python benchmarks/explorer.py --model saved/faces

Each is asked 30 times after 3 to warm up; the median and the 95th percentile in milliseconds,
of what the explorer computes, PNG of the shown image included; the browser's share is not. Beside
them the median of the processor's time, which a busy machine stretches less.
"""

import argparse
import io
import time

import numpy as np
from PIL import Image

from kvae.client import Client
from kvae.explore.answers import Answers
from kvae.explore.program import _rows
from kvae.serving.versions import find_version, read_metadata

_WARM, _TIMES = 3, 30


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="saved")
    version = find_version(parser.parse_args().model)
    client = Client(version.path)
    answers = Answers(client, read_metadata(version), _rows(str(version.path)))
    latent, dims = answers.sample(0), answers.latents.dims[:8]
    # Noise, of which no file is larger.
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    photo = io.BytesIO()
    Image.fromarray(noise).save(photo, "PNG")

    def shown(latent):
        x = answers.decoded(latent)
        answers.neighbours(x, 4)
        if answers.of_images:
            Image.fromarray(answers.as_image(x)).save(io.BytesIO(), "PNG")

    asked = {
        "slider": lambda n: shown(answers.moved(latent, {int(d): n / 30 for d in dims})),
        "seed": lambda n: shown(answers.sample(n)),
        "line of 8": lambda n: answers.between(answers.sample(n), latent, 8),
    }
    if answers.of_images:
        asked["upload 640x480"] = lambda n: shown(answers.encoded(photo.getvalue()))
    for name, ask in asked.items():
        spent = []
        for number in range(_WARM + _TIMES):
            start, used = time.perf_counter(), time.process_time()
            ask(number)
            spent.append((time.perf_counter() - start, time.process_time() - used))
        wall, processor = 1000 * np.array(spent[_WARM:]).T
        median, late = np.quantile(wall, [0.5, 0.95])
        print(
            f"{name:16} {median:7.1f} ms   95%: {late:7.1f} ms   "
            f"processor: {np.median(processor):7.1f} ms"
        )


if __name__ == "__main__":
    main()
