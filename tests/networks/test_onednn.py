"""What oneDNN computes otherwise, with it: the suite runs without."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_last_layer_and_no_rows_are_right_with_onednn():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", HERE / "test_head.py", HERE / "test_no_rows.py"],
        cwd=HERE.parents[1], env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
