import numpy as np

import kvae
from kvae.publish.repository import file_faults
from kvae.serving import versions
from kvae.training import program, run


def test_the_file_of_a_version_makes_the_run_again(whole, tmp_path):
    (first,) = versions.versions(whole / "gmm")
    path = first.path / versions.RUN_FILE
    config, _, _ = program.arguments(["--config", str(path), "--save", str(tmp_path)])
    again = run.train(config)
    ours, theirs = (kvae.load_model(one.path).get_weights() for one in (first, again))
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))
    text = (versions.training_folder(tmp_path, "gmm") / versions.RUN_FILE).read_text()
    assert text.replace(str(tmp_path), str(whole)) == path.read_text()
    files = versions.read_metadata(again)["files"]
    assert versions.RUN_FILE.name in files
    assert file_faults(again, files) == []
