"""Runs inside the official package's environment (`make vlmeval-env`) and does what a file tells it.

    python driver.py                 import the package and say its version
    python driver.py REQUEST.json    score stored predictions, or ask a checkpoint and score what it says

It imports nothing of mmevol. The package's code is left as it is; what is replaced are its outside connections: the
place of the data, their checksums (twins bear official names), and the judge. Predictions travel as TSV, which the
package recommends: its spreadsheets cut a long reply and compute one that begins with an equals sign.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FAILED = "Failed to obtain answer via API."
JUDGE = "replay"  # the judge's name in the package's file names
# Where the package asks a judge about one row: module of vlmeval.dataset, function (judge, row, ...)
ABOUT_A_ROW = {
    "utils.multiple_choice": "extract_answer_from_item",
    "utils.yorn": "YOrN_auxeval",
    "utils.mathvista": "MathVista_auxeval",
    "utils.mmvet": "MMVet_auxeval",
}
ABOUT_A_PROMPT = {"utils.llavabench": "build_prompt", "miabench": "generate_prompt"}  # function (row) -> prompt


class Judge:
    """A judge with stored outputs by index; without them, one whose calls always fail."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, outputs: Mapping[str, list[str]] | None) -> None:
        """Forget the last data set."""
        self._outputs = outputs
        self._prompts: dict[str, str] = {}  # prompt -> index
        self._row = ""
        self.calls: Counter[str] = Counter()
        self.found: dict[str, Any] = {}  # what the package's function returned, by index

    def working(self) -> bool:
        """Always: the package would otherwise go on with another metric."""
        return True

    def generate(self, message: Any, **settings: Any) -> str:
        """The n-th call about an item gets output min(n, last)."""
        text = message if isinstance(message, str) else "".join(part["value"] for part in message[:1])
        index = self._prompts.get(text, self._row)
        call = self.calls[index]
        self.calls[index] += 1
        if self._outputs is None:
            return FAILED
        if index not in self._outputs:
            raise SystemExit(f"the judge's file has no outputs for item {index!r}, and its reply needs one")
        return self._outputs[index][min(call, len(self._outputs[index]) - 1)]

    def connect(self) -> None:
        """Let the package's functions say which row they are about, and build this judge."""
        for module, name in ABOUT_A_ROW.items():
            _replace(f"vlmeval.dataset.{module}", name, self._about_a_row)
        for module, name in ABOUT_A_PROMPT.items():
            _replace(f"vlmeval.dataset.{module}", name, self._about_a_prompt)
        for module in ("image_mcq", "image_yorn", "image_vqa", "miabench"):
            _replace(f"vlmeval.dataset.{module}", "build_judge", lambda original: lambda **settings: self)

    def _about_a_row(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(model: Any, item: Any, *rest: Any, **named: Any) -> Any:
            self._row = str(item["index"])
            self.found[self._row] = original(model, item, *rest, **named)
            return self.found[self._row]

        return call

    def _about_a_prompt(self, original: Callable[..., str]) -> Callable[..., str]:
        def call(row: Any) -> str:
            prompt = original(row)
            self._prompts[prompt] = str(row["index"])
            return prompt

        return call


_declared: list[Any] = []  # torch's operators of ours: they are declared as long as these live


def _replace(module: str, name: str, change: Callable[[Any], Any]) -> None:
    found = importlib.import_module(module)
    setattr(found, name, change(getattr(found, name)))


def load_package() -> str:
    """Import the package; return its version.

    The torchvision wheel of the registry is built for CUDA: without it two of its operators are not declared, and its
    Python part refuses to load. LLaVABench's module looks for a sister package under a wrong name.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        torch = importlib.import_module("torch")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        importlib.import_module("torchvision")
    importlib.import_module("vlmeval.dataset")
    for name in ("smp", "smp.log"):
        sys.modules[f"vlmeval.dataset.{name}"] = importlib.import_module(f"vlmeval.{name}")
    return importlib.metadata.version("ms-vlmeval")


def open_dataset(name: str, path: Path, root: Path) -> Any:
    """The package's data set of that official name, on the file that is given."""
    kit = importlib.import_module("vlmeval.dataset")
    owner = next((known for known in kit.DATASET_CLASSES if name in known.supported_datasets()), None)
    if owner is None:
        raise SystemExit(f"the official package has no data set {name!r}")
    root.mkdir(parents=True, exist_ok=True)
    for file in {owner.DATASET_URL[name].split("/")[-1], f"{name}.tsv"}:
        link = root / file
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    owner.DATASET_MD5 = {}
    return kit.build_dataset(name)


def score(dataset: Any, file: Path, judge: Judge, judged: bool) -> dict[str, Any]:
    """The package's table and its verdict on every row."""
    mathvista = dataset.dataset_name.startswith("MathVista")  # refuses to run without a judge
    model = JUDGE if judged or mathvista else "exact_matching"
    table = dataset.evaluate(str(file), model=model, nproc=1)
    kind = type(dataset).__name__
    items = importlib.import_module("verdicts").READERS[kind](dataset, file, model, judge)  # lies beside this file
    result = {"kind": kind, "table": _plain(table), "items": items}
    if kind == "MMVet":  # the package writes this table and does not return it
        result["fine"] = _plain(importlib.import_module("vlmeval.smp").load(str(_fine(file, model))))
    return result


def _fine(file: Path, model: str) -> Path:
    return file.with_name(f"{file.stem}_{model}_score_fine.csv")


def _plain(table: Any) -> Any:
    if hasattr(table, "to_json"):
        return json.loads(table.to_json(orient="records", double_precision=15))
    return {str(name): float(value) for name, value in table.items()}


def write_predictions(dataset: Any, stored: Path, folder: Path) -> Path:
    """Stored replies as the package's own prediction file."""
    replies = {str(row["index"]): row["prediction"] for row in _rows(stored)}
    data = dataset.data.copy()
    data["prediction"] = [replies[str(index)] for index in data["index"]]
    file = folder / f"stored_{dataset.dataset_name}.tsv"
    importlib.import_module("vlmeval.smp").dump(data.drop(columns=["image"], errors="ignore"), str(file))
    return file


def ask_checkpoint(dataset: Any, model: Any, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The package's own loop over its own prompts: its prediction file, the replies, and the time they took."""
    inference = importlib.import_module("vlmeval.inference")
    name, indices = dataset.dataset_name, [str(index) for index in dataset.data["index"]]
    model.replies.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    inference.infer_data_job(model=model, work_dir=str(folder), model_name="checkpoint", dataset=dataset)
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    rows = [{"index": index, "prediction": text} for index, text in zip(indices, model.replies, strict=True)]
    replies = folder / f"{name}.predictions.jsonl"
    replies.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file = importlib.import_module("vlmeval.smp").get_pred_file_path(str(folder), "checkpoint", name)
    return Path(file), {"predictions": str(replies), "precision": model.precision, **took}


def main(arguments: list[str]) -> None:
    """Do the request; the answer goes to the file that it names."""
    version = load_package()
    if not arguments:
        sys.stdout.write(f"ms-vlmeval {version} is ready in {sys.prefix}\n")
        return
    threading.Thread(target=_end_with_pipe, daemon=True).start()
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    work = Path(request["work"])
    os.environ.update(LMUData=str(work / "LMUData"), PRED_FORMAT="tsv")
    judge = Judge()
    judge.connect()
    model = None
    for name, files in request["datasets"].items():
        if (work / "answers" / f"{name}.json").exists():  # by an earlier process, from the same
            continue
        if "checkpoint" in request and model is None:
            model = importlib.import_module("checkpoint_class").build(request["checkpoint"], request["decoding"])
        answer_one(name, files, model, judge, work)


def answer_one(name: str, files: Mapping[str, str], model: Any, judge: Judge, work: Path) -> None:
    """One data set, in a folder of its own; the answer appears when it is whole."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)  # the package takes up whatever results it finds
    folder.mkdir()
    dataset = open_dataset(name, Path(files["data"]), work / "LMUData")
    judge.begin(_outputs(files.get("judge")))
    took: dict[str, Any] = {}
    if model is None:
        file = write_predictions(dataset, Path(files["predictions"]), folder)
    else:
        file, took = ask_checkpoint(dataset, model, folder)
    wall, cpu = time.perf_counter(), time.process_time()
    found = score(dataset, file, judge, "judge" in files) | took
    took = {"score_wall_s": time.perf_counter() - wall, "score_cpu_s": time.process_time() - cpu}
    version = importlib.metadata.version("ms-vlmeval")
    part = work / "answers" / f"{name}.part"
    part.write_text(
        json.dumps({"version": version, "made_from": files["made_from"], **found, **took}), encoding="utf-8"
    )
    part.replace(part.with_suffix(".json"))


def _end_with_pipe() -> None:
    """Whoever waits for the answers holds the other end of standard input; when it closes, nobody does."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _outputs(file: str | None) -> dict[str, list[str]] | None:
    if not file:
        return None
    return {str(row["index"]): [str(output) for output in row["outputs"]] for row in _rows(Path(file))}


def _rows(path: Path) -> list[dict[str, Any]]:
    """JSON lines; only a line feed ends one, for texts may hold other separators as they are."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]


if __name__ == "__main__":
    main(sys.argv[1:])
