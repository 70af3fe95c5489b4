"""From the gate to the clean score: what training data met leaves the score of the benchmark that it met."""

import io

import pytest
from PIL import Image
from support import tiny_llava

from mmevol_core.errors import UserError
from mmevol_core.files import read_jsonl, write_jsonl
from mmevol_core.images import ImageStore
from mmevol_core.sample import QA, Sample, write_samples
from mmevol_dataengine.contamination import Gate, GateConfig, fingerprints
from mmevol_dataengine.seed import STAGE, SeedConfig
from mmevol_eval.benchmarks import find
from mmevol_eval.clean import read_contaminated
from mmevol_eval.data import TWINS, BenchmarksConfig, locate, prepare
from mmevol_experiment.compose import compose
from mmevol_experiment.graph import build

NAMES = tuple(TWINS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmarks")
    held_out = tiny_llava.held_out(out / "held_out")
    config = BenchmarksConfig(source="twins", names=NAMES, items=30)
    return prepare(config, {"held_out": held_out}, out).files["benchmarks"]


@pytest.fixture(scope="module")
def suite(folder):
    """Name -> items, of every twin through its official loader."""
    return {name: list(find(name).load(locate(folder, find(name)))) for name in NAMES}


def bytes_of(image):
    return image if isinstance(image, bytes) else image.read_bytes()


def test_items_that_a_record_meets_are_those_that_the_loader_gives_the_same_picture(folder, suite, tmp_path):
    seen = [bytes_of(items[0].images[0]) for items in suite.values()]
    for number, raw in enumerate(seen):
        with Image.open(io.BytesIO(raw)) as picture:
            picture.convert("RGB").save(tmp_path / f"{number}.png")
    samples = [
        Sample(id=f"s{number}", images=(f"{number}.png",), rounds=((QA(id="q", question="What?", answer="x"),),))
        for number in range(len(seen))
    ]
    write_samples(tmp_path / "seed.jsonl", samples)
    gate = GateConfig(benchmarks=folder, action="keep", hash_distance=0)
    config = SeedConfig(source="samples", path=tmp_path / "seed.jsonl", image_root=tmp_path, contamination=gate)
    result = STAGE.run(config, {}, tmp_path / "out")
    assert result.metrics["records"] == len(seen) and not result.metrics["contamination"]["benchmark_files_unread"]
    write_jsonl(
        tmp_path / "same.jsonl",
        [row for row in read_jsonl(result.files["contaminated_items"]) if row["how"] == "same_image"],
    )
    listed, pixels = read_contaminated(tmp_path / "same.jsonl"), {fingerprints(raw)[0] for raw in seen}
    for name, items in suite.items():
        expected = {
            item.index for item in items if any(fingerprints(bytes_of(one))[0] in pixels for one in item.images)
        }
        assert listed.of(name, items) == expected, name


def test_a_question_that_is_met_is_found_by_the_index_that_the_loader_gives(folder, suite, tmp_path):
    """Every question as its own training record, runs short enough that each counts."""
    gate = Gate(GateConfig(benchmarks=folder, words=4))
    store = ImageStore(tmp_path)
    for name, items in suite.items():
        for item in (items[0], items[-1]):
            question = QA(id="q", question=item.question, answer="x")
            met = gate.check(Sample(id="s", images=("none.png",), rounds=((question,),)), store)
            if len(item.question.split()) > 6:
                write_jsonl(tmp_path / "met.jsonl", [one.row("s") for one in met])
                assert item.index in (read_contaminated(tmp_path / "met.jsonl").of(name, items) or ()), name


def test_a_gate_may_name_folders_that_are_no_benchmark_and_a_person_may_not(tmp_path):
    row = {"benchmark": "notes", "index": "1"}
    write_jsonl(tmp_path / "met.jsonl", [{**row, "how": "same_question", "record": "s"}])
    found = read_contaminated(tmp_path / "met.jsonl")
    assert found.elsewhere == {"notes"} and found.of("POPE", []) is None
    write_jsonl(tmp_path / "met.jsonl", [row])
    with pytest.raises(UserError, match="unknown benchmark 'notes'"):
        read_contaminated(tmp_path / "met.jsonl")


@pytest.mark.parametrize(
    ("overrides", "given"),
    [
        (["data.contamination={benchmarks:b,action:keep}"], True),
        (["data.contamination={benchmarks:b,action:keep}", "evaluate.contaminated=own.jsonl"], False),
        (["data.contamination={benchmarks:b}"], False),  # dropped: the model has not seen what they met
        ([], False),
    ],
)
def test_the_evaluation_is_given_the_list_when_met_records_stay(overrides, given):
    nodes = build(compose(["experiment=qwen2_evol", *overrides]))
    evaluations = [node for node in nodes if node.stage == "evaluate"]
    assert evaluations
    for node in evaluations:
        assert (node.inputs.get("contaminated") == ("seed", "contaminated_items")) == given
