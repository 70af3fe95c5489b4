"""The small commands of training as processes of their own."""

import json
import subprocess
import sys

COMMAND = "import sys; from mmevol_experiment.__main__ import app; app(standalone_mode=False); "
WITHOUT_TORCH = "sys.exit(sorted({'torch', 'transformers'} & set(sys.modules)) or 0)"


def mmevol(*arguments, after=""):
    command = [sys.executable, "-c", COMMAND + after, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_tokens_are_counted_without_importing_torch_or_transformers(tmp_path):
    sizes = tmp_path / "sizes.json"
    sizes.write_text("[[640, 480], [1, 1]]")
    for backbone, expected in (("qwen2_7b", 2340), ("qwen2_tiny", 70)):
        # 640x480, tower 336/14: 576 + 36 * 49 = 2340; tower 64/16, grid 128x128: 16 + 6 * 9 = 70
        done = mmevol("tokens", "--sizes", sizes, "--backbone", backbone, after=WITHOUT_TORCH)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["tokens"] == expected


def test_the_processes_that_read_rows_do_not_import_what_prints_them():
    source = "import sys, mmevol_train.rows; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], timeout=120).returncode == 0
