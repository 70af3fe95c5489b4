"""Boxes and text that no model was asked for yet: a zero-shot detector of transformers, and OCR by rapidocr.

Both work through the records one by one and write each finding to a log at once, so that a stop costs one picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import orjson
from PIL import Image, ImageOps
from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.images import ImageFailure, ImageStore
from mmevol_core.sample import Box, Sample, Text

COCO_LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip


SAME_BOX = 0.7  # intersection over union from which two boxes of one label are one object


class AnnotateConfig(Config):
    """Which tools look at the pictures of records that lack boxes or text."""

    detector: str | None = None  # OWL-ViT or Grounding DINO class of model, by id or folder; None: no boxes by detector
    labels: tuple[str, ...] = COCO_LABELS  # what the detector looks for, beside the objects that a record's items name
    labels_at_once: int = Field(default=40, ge=1)  # Grounding DINO reads 256 tokens, about 80 labels
    threshold: float = Field(default=0.3, ge=0, le=1)  # least confidence of a box
    most_boxes: int = Field(default=30, ge=1)  # the most confident ones
    device: str = "cpu"  # of the detector
    ocr: Literal["none", "rapidocr"] = "none"
    ocr_threshold: float = Field(default=0.5, ge=0, le=1)  # least confidence of a line of text


@dataclass
class Annotator:
    """Adds boxes and text to records of one image; a context manager, for the log it keeps.

    `counts`: boxes_added, boxes_none, text_added, text_none, image_<reason>, several_images.
    """

    config: AnnotateConfig
    store: ImageStore
    log: Path
    counts: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Annotator:
        self._done = _read_log(self.log)
        self._file = self.log.open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def annotate(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The records, completed; those with everything, without an image or with several pass as they are."""
        for sample in samples:
            wants = {
                "boxes": bool(self.config.detector) and not sample.boxes,
                "text": self.config.ocr != "none" and not sample.ocr,
            }
            if not any(wants.values()) or len(sample.images) != 1:
                self.counts["several_images"] += len(sample.images) > 1
                yield sample
                continue
            found = self._done.get(sample.id)
            if found is None:
                found = self._look(sample, wants)
                if "failed" not in found:  # a picture that comes later is looked at later
                    self._file.write(orjson.dumps({"id": sample.id, **found}, option=orjson.OPT_APPEND_NEWLINE))
                    self._file.flush()
            yield self._with(sample, found)

    def _look(self, sample: Sample, wants: dict[str, bool]) -> dict[str, Any]:
        try:
            path = self.store.path(sample.images[0])
            self.store.load(sample.images[0])  # refuses what is broken or too large before it is decoded again
        except ImageFailure as failed:
            return {"failed": failed.reason}
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        found: dict[str, Any] = {}
        if wants["boxes"]:
            named = [name for item in sample.latest for name in item.objects]
            found["boxes"] = self._detector.find(upright, tuple(dict.fromkeys([*named, *self.config.labels])))
        if wants["text"]:
            found["text"] = self._reader.read(upright)
        return found

    def _with(self, sample: Sample, found: dict[str, Any]) -> Sample:
        if "failed" in found:
            self.counts[f"image_{found['failed']}"] += 1
            return sample
        if "boxes" in found:
            self.counts["boxes_added" if found["boxes"] else "boxes_none"] += 1
            boxes = tuple(Box(label=label, xyxy=_corners(xyxy), score=score) for label, xyxy, score in found["boxes"])
            sample = replace(sample, boxes=boxes)
        if "text" in found:
            self.counts["text_added" if found["text"] else "text_none"] += 1
            sample = replace(sample, ocr=tuple(Text(text=text, xyxy=_corners(xyxy)) for text, xyxy in found["text"]))
        return sample

    @cached_property
    def _detector(self) -> Detector:
        return Detector(self.config)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.config)


class Detector:
    """A zero-shot detector of transformers: OWL-ViT, OWLv2, Grounding DINO and whatever follows their interface."""

    def __init__(self, config: AnnotateConfig) -> None:
        """Load model and processor. Raises UserError when they cannot be."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        self._config = config
        try:
            self._processor = AutoProcessor.from_pretrained(config.detector)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(config.detector)
        except (OSError, ValueError) as error:
            raise UserError(f"annotate.detector {config.detector}: {str(error).splitlines()[0]}") from error
        self._model = model.to(config.device).eval()

    def find(self, image: Image.Image, labels: Sequence[str]) -> list[tuple[str, list[float], float]]:
        """(label, corners as shares, confidence) of what is seen, the most confident first."""
        step = self._config.labels_at_once
        rows = [row for start in range(0, len(labels), step) for row in self._some(image, labels[start : start + step])]
        return apart(sorted(rows, key=lambda row: -row[2]))[: self._config.most_boxes]

    def _some(self, image: Image.Image, labels: Sequence[str]) -> Iterator[tuple[str, list[float], float]]:
        """What is found of so many labels as one text of the model holds."""
        import torch

        texts = [list(labels)]
        inputs = self._processor(images=image, text=texts, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            outputs = self._model(**inputs.to(self._config.device))
        (found,) = self._processor.post_process_grounded_object_detection(
            outputs, threshold=self._config.threshold, target_sizes=[(image.height, image.width)], text_labels=texts
        )
        for said, corners, score in zip(
            found["text_labels"], found["boxes"].tolist(), found["scores"].tolist(), strict=True
        ):
            name, box = _label(said, labels), _shares(corners, image.size)
            if name and box is not None:
                yield name, box, round(float(score), 4)


class Reader:
    """OCR by rapidocr, whose wheel brings its models (Chinese, English, digits)."""

    def __init__(self, config: AnnotateConfig) -> None:
        """Load the models. Raises UserError when rapidocr is not installed."""
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise UserError("annotate.ocr=rapidocr needs: pip install mmevol[ocr]") from error
        self._engine: Any = RapidOCR(params={"Global.log_level": "error"})
        self._least = config.ocr_threshold

    def read(self, image: Image.Image) -> list[tuple[str, list[float]]]:
        """(text, corners as shares) of every line, in reading order."""
        import numpy as np

        found = self._engine(np.asarray(image)[:, :, ::-1])  # it expects blue, green, red
        rows = []
        for corners, text, score in zip(
            found.boxes if found.boxes is not None else (), found.txts or (), found.scores or (), strict=True
        ):
            xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
            box = _shares([min(xs), min(ys), max(xs), max(ys)], image.size)
            if score >= self._least and text.strip() and box is not None:
                rows.append((text.strip(), box))
        return rows


def apart(rows: Sequence[tuple[str, list[float], float]]) -> list[tuple[str, list[float], float]]:
    """Of boxes that nearly coincide under one label only the first, as OWL-ViT itself removes none."""
    kept: list[tuple[str, list[float], float]] = []
    for row in rows:
        if all(other[0] != row[0] or _overlap(other[1], row[1]) < SAME_BOX for other in kept):
            kept.append(row)
    return kept


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0.0) * max(high, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0


def _label(said: str, labels: Sequence[str]) -> str:
    """The asked label that a model's words stand for ("" for none): Grounding DINO gives phrases, in lower case."""
    plain = {label.lower(): label for label in labels}
    phrase = said.strip().lower()
    return plain.get(phrase) or next((label for name, label in plain.items() if f" {name} " in f" {phrase} "), "")


def _shares(corners: Sequence[float], size: tuple[int, int]) -> list[float] | None:
    """Pixels to shares of the image, cut at its edges; None for a box without extent."""
    width, height = size
    left, right = (round(min(max(x / width, 0.0), 1.0), 4) for x in (corners[0], corners[2]))
    top, bottom = (round(min(max(y / height, 0.0), 1.0), 4) for y in (corners[1], corners[3]))
    return [left, top, right, bottom] if left < right and top < bottom else None


def _corners(value: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = value
    return left, top, right, bottom


def _read_log(path: Path) -> dict[str, dict[str, Any]]:
    """Findings of an earlier call; a line that a kill has cut is left out, and cut off."""
    done: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return done
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = orjson.loads(line)
            done[row.pop("id")] = row
            whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return done
