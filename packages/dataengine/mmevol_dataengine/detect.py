"""What looks at a picture: a zero-shot detector of transformers, and OCR by rapidocr."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from PIL import Image
from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError

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


Found = tuple[str, list[float], float]  # label, corners as shares of the image, confidence 0..1


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

    def find(self, image: Image.Image, labels: Sequence[str]) -> tuple[list[Found], dict[str, int]]:
        """What is seen, the most confident first; and what was left out.

        Counted as left out are boxes of which no part lies within the image (`box_outside`), those whose words are
        none or several of the labels (`box_unasked`), that lie on another one of the same label (`box_repeated`), and
        that are beyond `most_boxes` (`box_beyond_most`).
        """
        rows: list[Found] = []
        left_out: Counter[str] = Counter()
        for start in range(0, len(labels), self._config.labels_at_once):
            asked = labels[start : start + self._config.labels_at_once]
            for said, corners, score in self._some(image, asked):
                name, box = _label(said, asked), _shares(corners, image.size)
                if not name or box is None:
                    left_out["box_outside" if box is None else "box_unasked"] += 1
                else:
                    rows.append((name, box, round(score, 4)))
        single = apart(sorted(rows, key=lambda row: -row[2]))
        kept = single[: self._config.most_boxes]
        left_out += Counter(box_repeated=len(rows) - len(single), box_beyond_most=len(single) - len(kept))
        return kept, dict(left_out)

    def _some(self, image: Image.Image, labels: Sequence[str]) -> Iterator[tuple[str, list[float], float]]:
        """(words, corners in pixels, confidence) of what is found of so many labels as one text of the model holds."""
        import torch

        texts = [list(labels)]
        inputs = self._processor(images=image, text=texts, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            outputs = self._model(**inputs.to(self._config.device))
        (found,) = self._processor.post_process_grounded_object_detection(
            outputs, threshold=self._config.threshold, target_sizes=[(image.height, image.width)], text_labels=texts
        )
        boxes = found["boxes"].tolist()
        if not boxes:  # Grounding DINO's processor then names one empty phrase all the same
            return
        for said, corners, score in zip(found["text_labels"], boxes, found["scores"].tolist(), strict=True):
            yield str(said), corners, float(score)


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


def apart(rows: Sequence[Found]) -> list[Found]:
    """Of boxes that nearly coincide under one label only the first, as OWL-ViT itself removes none."""
    kept: list[Found] = []
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
    """The asked label that a model's words stand for: Grounding DINO gives phrases, in lower case.

    "" for none, and for several: which of them the box holds, the phrase does not say. A label within a longer one
    that is found ("dog" in "hot dog") is none of its own.
    """
    plain = {label.strip().lower(): label for label in labels}
    phrase = said.strip().lower()
    if phrase in plain:
        return plain[phrase]
    found = []
    for name in sorted(plain, key=len, reverse=True):
        phrase, times = re.subn(rf"(?<!\S){re.escape(name)}(?!\S)", "|", phrase)
        found += [plain[name]] * bool(times)
    return found[0] if len(found) == 1 else ""


def _shares(corners: Sequence[float], size: tuple[int, int]) -> list[float] | None:
    """Pixels to shares of the image, cut at its edges; None for a box of which nothing is left."""
    width, height = size
    left, right = (round(min(max(x / width, 0.0), 1.0), 4) for x in (corners[0], corners[2]))
    top, bottom = (round(min(max(y / height, 0.0), 1.0), 4) for y in (corners[1], corners[3]))
    return [left, top, right, bottom] if left < right and top < bottom else None
