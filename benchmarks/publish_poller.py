"""Publishers that are killed, and a server that polls: does anybody ever see half a version?

    python benchmarks/publish_poller.py --rounds 50 --kills 10

Two processes publish into one model at the same time, `--rounds` times each; `--kills` of these
publications are killed (SIGKILL) at a random moment. Meanwhile a poller looks every 2 ms, as TF
Serving does, at the folders whose names are numbers, reads each version the moment it sees it, and
a second thread loads it: all checksums, the session loader, the warm-up records.

Prints what was published, killed, seen and loaded, and fails if a version did not load, a number
was given twice, or a publication that was reported is not there.
"""

import argparse
import hashlib
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PUBLISHER = """
import sys
import kvae
from kvae import publish
vae = kvae.build_vae((8, 8, 1), latent_dim=2)
print("ready", flush=True)
for line in sys.stdin:
    version = publish.publish(vae, sys.argv[1], "m", config={}, card={}, history={})
    print(version.number, flush=True)
"""
POLL_SECONDS = 0.002


class Publisher:
    """A process that publishes when it is told."""

    def __init__(self, save):
        self._save = save
        self._start()

    def _start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(self._save)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if self._process.stdout.readline().strip() != "ready":
            raise SystemExit("a publisher did not start")

    def publish(self, kill_after=None):
        """Publish once.

        Args:
            kill_after: seconds until the process is killed; None: it is not.

        Returns:
            The number that it reported; None where it was killed before.
        """
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        if kill_after is not None:
            killer = threading.Timer(kill_after, self._process.kill)
            killer.start()
        line = self._process.stdout.readline().strip()
        if kill_after is not None:
            killer.join()
            self._process.wait()
            self._start()
        return int(line) if line else None

    def stop(self):
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()


class Poller(threading.Thread):
    """Looks for versions, and hands each new one to a loader."""

    def __init__(self, model):
        super().__init__()
        self._model, self._seen, self._stopped = model, set(), threading.Event()
        self.looks, self.faults, self.loaded = 0, [], 0
        self._waiting = queue.SimpleQueue()
        self._loader = threading.Thread(target=self._load_all)
        self._loader.start()

    def run(self):
        """Look until told to stop."""
        while not self._stopped.is_set():
            self.looks += 1
            for path in self._model.iterdir() if self._model.is_dir() else ():
                if path.name.isdigit() and path not in self._seen:
                    self._seen.add(path)
                    self._check(path)
            time.sleep(POLL_SECONDS)

    def _check(self, path):
        """What can be seen at once; loading takes its turn."""
        try:
            content = (path / "saved_model.pb").read_bytes()
            said = json.loads((path / "assets.extra" / "kvae.json").read_text())["files"]
            if hashlib.sha256(content).hexdigest() != said["saved_model.pb"]:
                self.faults.append(f"{path}: another saved_model.pb than kvae.json says")
        except Exception as error:
            self.faults.append(f"{path}: {error}")
        self._waiting.put(path)

    def _load_all(self):
        """Verify each version: checksums, the session loader, the warm-up records."""
        from kvae.publish.verification import verify
        from kvae.serving.versions import Version

        while (path := self._waiting.get()) is not None:
            self.faults += [f"{path}: {one}" for one in verify(Version(path, "m", int(path.name)))]
            self.loaded += 1

    def finish(self):
        """Stop when all that was seen is loaded."""
        self._stopped.set()
        self.join()
        self._waiting.put(None)
        self._loader.join()
        return self.loaded


def main():
    """Publish, kill, poll, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    turns = [(turn, who) for turn in range(arguments.rounds) for who in range(2)]
    victims = set(rng.sample(turns[2:], arguments.kills))
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m"
        poller = Poller(model)
        poller.start()
        publishers = [Publisher(Path(folder)) for _ in range(2)]
        start = time.perf_counter()
        numbers = [publishers[0].publish()]
        seconds = time.perf_counter() - start
        reported = [[], []]

        def work(who):
            for turn in range(arguments.rounds):
                delay = rng.uniform(0, 3 * seconds) if (turn, who) in victims else None
                reported[who].append(publishers[who].publish(delay))

        threads = [threading.Thread(target=work, args=(who,)) for who in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for publisher in publishers:
            publisher.stop()
        time.sleep(10 * POLL_SECONDS)
        numbers += [number for own in reported for number in own]
        given = [number for number in numbers if number is not None]
        there = sorted(int(path.name) for path in model.iterdir() if path.name.isdigit())
        seen = poller.finish()
        print(
            f"{len(numbers)} publications by two processes, {arguments.kills} told to die, "
            f"{len(numbers) - len(given)} did before they were done; one takes {seconds:.1f} s "
            f"alone. {len(there)} versions, {poller.looks} looks, {seen} versions seen and loaded"
        )
        faults = list(poller.faults)
        if len(set(given)) != len(given):
            faults.append("a number was given twice")
        faults += [f"version {number} is gone" for number in sorted({*given} - {*there})]
        if seen != len(there):
            faults.append(f"{len(there) - seen} versions were never seen")
        print("\n".join(faults) or "no fault")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
