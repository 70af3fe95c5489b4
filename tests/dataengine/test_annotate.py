"""Detectors and OCR on real code paths: tiny random models saved here, rapidocr with the models of its wheel."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image, ImageDraw, ImageFont

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_core.images import ImageStore
from mmevol_core.sample import QA, Box, Sample, read_samples, write_samples
from mmevol_dataengine.annotate import Annotator
from mmevol_dataengine.detect import AnnotateConfig, Detector, Reader, apart


def root(folder):
    folder.mkdir()
    picture = Image.new("RGB", (320, 120), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((20, 20), "EXIT 42", fill="black", font=ImageFont.load_default(40))
    picture.save(folder / "sign.png")
    (folder / "cut.png").write_bytes((folder / "sign.png").read_bytes()[:200])
    return ImageStore(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["owl_vit", "owl_v2", "grounding_dino"])
def test_curation_adds_boxes_of_a_detector_from_a_folder_and_counts_those_it_cannot_use(tmp_path, kind):
    import torch
    from support import tiny_detectors

    torch.manual_seed(0)
    getattr(tiny_detectors, kind)(tmp_path / "model")
    (tmp_path / "images").mkdir()
    Image.effect_noise((90, 30), 80).convert("RGB").save(tmp_path / "images" / "wide.png")
    (tmp_path / "images" / "cut.png").write_bytes((tmp_path / "images" / "wide.png").read_bytes()[:99])
    item = QA(id="q", question="Is it red?", answer="yes", objects=("cat",))
    names = {"a": "wide.png", "b": "wide.png", "c": "cut.png"}
    rows = [Sample(id=name, images=(picture,), rounds=((item,),)) for name, picture in names.items()]
    write_samples(tmp_path / "in.jsonl", rows)

    def curated(out, *settings):
        labels = "curation.annotate.labels=[cat,dog,red,circle]"
        plain = ["curation.merge=false", "curation.teacher=null", "curation.topics=null", labels]
        detector = [f"curation.annotate.detector={tmp_path / 'model'}", "curation.annotate.most_boxes=5", *settings]
        command = ["data", "curate", "in.jsonl", out, "--images", "images", *plain, *detector]
        done = subprocess.run(
            [sys.executable, "-m", "mmevol_experiment", *command], cwd=tmp_path, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        work = read_json(tmp_path / out / "curation.json")["work"]
        return work, list(read_samples(tmp_path / out / "seed.jsonl"))

    # all that is proposed: 16 patches of OWL, 6 queries of Grounding DINO, in two calls of two labels, two pictures
    work, samples = curated("all", "curation.annotate.threshold=0.0", "curation.annotate.labels_at_once=2")
    assert work["look_image_truncated"] == 1
    assert work.get("look_boxes_added", 0) + work.get("look_boxes_none", 0) == 2
    proposed = {"owl_vit": 64, "owl_v2": 64, "grounding_dino": 24}[kind]
    left_out = sum(work.get(f"look_box_{why}", 0) for why in ("outside", "unasked", "repeated", "beyond_most"))
    assert left_out + sum(len(sample.boxes) for sample in samples) == proposed
    if kind == "owl_v2":  # a picture of 90 x 30 is the upper third of its square
        assert work["look_box_outside"] > 0
    for sample in samples:
        assert len(sample.boxes) <= 5
        for box in sample.boxes:
            left, top, right, bottom = box.xyxy
            assert box.label in ("cat", "dog", "red", "circle") and 0 <= box.score <= 1
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    assert samples[0].boxes == samples[1].boxes and not samples[2].boxes
    assert kind == "grounding_dino" or samples[0].boxes  # its phrases need not be labels; OWL scores the labels
    work, samples = curated("none", "curation.annotate.threshold=1.0")
    assert (work["look_boxes_none"], work["look_image_truncated"]) == (2, 1)
    assert not any(sample.boxes for sample in samples)


def test_what_a_detector_proposes_beside_the_picture_or_unasked_is_counted(monkeypatch):
    proposed = [
        ("cat", [10.0, 5.0, 30.0, 15.0], 0.9),  # inside: 0.1, 0.1, 0.3, 0.3 of 100 x 50
        ("cat", [-20.0, 40.0, 50.0, 80.0], 0.8),  # cut at the edges: 0, 0.8, 0.5, 1
        ("dog", [20.0, 60.0, 40.0, 70.0], 0.7),  # below the picture
        ("dog", [float("nan")] * 4, 0.7),
        ("a cow", [0.0, 0.0, 50.0, 25.0], 0.6),  # nobody asked for it
    ]
    monkeypatch.setattr(Detector, "__init__", lambda self, config: setattr(self, "_config", config))
    monkeypatch.setattr(Detector, "_some", lambda self, image, labels: iter(proposed))
    found, left_out = Detector(AnnotateConfig(detector="x")).find(Image.new("RGB", (100, 50)), ("cat", "dog"))
    assert found == [("cat", [0.1, 0.1, 0.3, 0.3], 0.9), ("cat", [0.0, 0.8, 0.5, 1.0], 0.8)]
    assert left_out == {"box_outside": 2, "box_unasked": 1}
    twice = [*proposed[:2], ("cat", [10.0, 5.0, 30.0, 15.1], 0.5), ("dog", [1.0, 1.0, 9.0, 9.0], 0.4)]
    monkeypatch.setattr(Detector, "_some", lambda self, image, labels: iter(twice))
    found, left_out = Detector(AnnotateConfig(detector="x", most_boxes=1)).find(Image.new("RGB", (100, 50)), ("cat",))
    assert len(found) == 1
    assert left_out == {"box_unasked": 1, "box_repeated": 1, "box_beyond_most": 1}


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("Hot dog bun", "hot dog"), ("dog hot dog", ""), ("teddy bear toy", "teddy bear"), ("traffic light car", ""),
        ("the cat", "cat"), ("cat cat", "cat"), ("catfish", ""), ("hot", ""), ("", ""), ("t-shirt", "T-shirt"),
    ],
)  # fmt: skip
def test_a_phrase_is_the_longest_label_in_it_and_of_several_labels_none(said, label, monkeypatch):
    monkeypatch.setattr(Detector, "__init__", lambda self, config: setattr(self, "_config", config))
    monkeypatch.setattr(Detector, "_some", lambda self, image, labels: iter([(said, [0.0, 0.0, 5.0, 5.0], 0.9)]))
    labels = ("dog", "bear", "car", "cat", "hot dog", "teddy bear", "traffic light", "T-shirt")
    found, left_out = Detector(AnnotateConfig(detector="x")).find(Image.new("RGB", (10, 10)), labels)
    assert [name for name, _, _ in found] == [label] * bool(label)
    assert left_out == ({} if label else {"box_unasked": 1})


def test_boxes_that_coincide_under_one_label_are_one_object():
    near = [("cat", [0.1, 0.1, 0.5, 0.5], 0.9), ("cat", [0.1, 0.1, 0.5, 0.48], 0.8)]  # overlap 0.95
    other = [("dog", [0.1, 0.1, 0.5, 0.5], 0.7), ("cat", [0.1, 0.1, 0.3, 0.3], 0.6)]  # another label; overlap 0.25
    assert apart([*near, *other]) == [near[0], *other]


def test_a_detector_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"annotate\.detector .*absent"):
        Detector(AnnotateConfig(detector=str(tmp_path / "absent")))


@pytest.mark.slow
def test_text_in_pictures_is_read_once_and_a_broken_picture_is_counted(tmp_path, monkeypatch):
    pytest.importorskip("rapidocr")
    store = root(tmp_path / "images")
    rows = [
        Sample(id="a", images=("sign.png",), rounds=((QA(id="q", question="What?", answer="A sign"),),)),
        Sample(id="b", images=("cut.png",)),
        Sample(id="c", images=("sign.png", "cut.png")),
        Sample(id="d", images=()),
    ]
    config, log = AnnotateConfig(ocr="rapidocr"), tmp_path / "annotations.jsonl"
    with Annotator(config, store, log) as annotator:
        first, *rest = annotator.annotate(rows)
    (line,) = first.ocr
    assert line.text.replace(" ", "") == "EXIT42"
    left, top, _, bottom = line.xyxy  # drawn at 20 of 320 across and 20 of 120 down
    assert left == pytest.approx(20 / 320, abs=0.04)
    assert top < 0.35 < bottom
    assert rest == rows[1:]
    assert annotator.counts == {"text_added": 1, "image_truncated": 1, "several_images": 1}
    with log.open("ab") as file:
        file.write(b'{"id": "z", "te')  # killed while writing
    monkeypatch.setattr(Reader, "__init__", None)  # what is in the log is not looked at again
    with Annotator(config, store, log) as again:
        assert next(again.annotate(rows)).ocr == first.ocr
    assert [json.loads(row)["id"] for row in log.read_text().splitlines()] == ["a"]  # b: looked at again when mended


def test_the_log_answers_only_for_the_same_picture_wants_and_labels(tmp_path, monkeypatch):
    seen = []

    def found(self, image, labels):
        seen.append(labels)
        return [("cat", [0.1, 0.1, 0.3, 0.3], 0.9)], {}

    monkeypatch.setattr(Detector, "__init__", lambda self, config: None)
    monkeypatch.setattr(Detector, "find", found)
    monkeypatch.setattr(Reader, "__init__", lambda self, config: None)
    monkeypatch.setattr(Reader, "read", lambda self, image: [("EXIT", [0.1, 0.1, 0.3, 0.3])])
    store, config = root(tmp_path / "images"), AnnotateConfig(detector="x", ocr="rapidocr", labels=("cat",))
    bare = Sample(id="a", images=("sign.png",))
    boxed = replace(bare, boxes=(Box(label="sign", xyxy=(0.1, 0.1, 0.2, 0.2)),))
    asking = replace(bare, rounds=((QA(id="q", question="A dog?", answer="no", objects=("dog",)),),))

    def looked(sample):
        with Annotator(config, store, tmp_path / "log") as annotator:
            (done,) = annotator.annotate([sample])
        return done

    assert looked(bare) == looked(bare)
    assert seen == [("cat",)]
    assert looked(boxed).boxes == boxed.boxes  # it has boxes by now: only the text is asked for
    assert looked(asking).boxes and seen == [("cat",), ("dog", "cat")]
    Image.new("RGB", (320, 120), "red").save(tmp_path / "images" / "sign.png")  # another picture of that name
    looked(bare)
    assert len(seen) == 3


def test_what_a_record_has_is_left_alone(tmp_path):
    box = Box(label="sign", xyxy=(0.1, 0.1, 0.2, 0.2))
    sample = Sample(id="a", images=("gone.png",), boxes=(box,))
    with Annotator(AnnotateConfig(detector="never-loaded"), ImageStore(tmp_path), tmp_path / "log") as annotator:
        assert list(annotator.annotate([sample])) == [sample]
