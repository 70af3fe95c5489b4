"""Boxes and text that no model was asked for yet, added to records by a detector and by OCR.

Both work through the records one by one and write each finding to a log at once, so that a stop costs one picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
from PIL import Image, ImageOps

from mmevol_core.files import digest
from mmevol_core.images import ImageFailure, ImageStore
from mmevol_core.sample import Box, Sample, Text
from mmevol_dataengine.detect import AnnotateConfig, Detector, Reader

VERSION = 2  # of what is made of a model's words and boxes: raised, pictures are looked at again


@dataclass
class Annotator:
    """Adds boxes and text to records of one image; a context manager, for the log it keeps.

    `counts`: boxes_added, boxes_none, text_added, text_none, image_<reason>, several_images (records);
    box_outside, box_unasked, box_repeated, box_beyond_most (single boxes that a detector gave and are left out).
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
            yield self._with(sample, self._found(sample, wants))

    def _found(self, sample: Sample, wants: dict[str, bool]) -> dict[str, Any]:
        """What the log has of the same picture, wants and labels, or else what is seen now."""
        try:
            picture = blake2b(self.store.path(sample.images[0]).read_bytes(), digest_size=16).hexdigest()
        except ImageFailure as failed:
            return {"failed": failed.reason}
        labels = self._labels(sample) if wants["boxes"] else ()
        key = digest([sample.id, picture, wants, labels, VERSION])
        found = self._done.get(key)
        if found is None:
            found = self._look(sample, wants, labels)
            if "failed" not in found:  # a picture that is mended later is looked at later
                line = {"key": key, "id": sample.id, **found}
                self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                self._file.flush()
        return found

    def _labels(self, sample: Sample) -> tuple[str, ...]:
        named = [name for item in sample.latest for name in item.objects]
        return tuple(dict.fromkeys([*named, *self.config.labels]))

    def _look(self, sample: Sample, wants: dict[str, bool], labels: tuple[str, ...]) -> dict[str, Any]:
        try:
            path = self.store.path(sample.images[0])
            self.store.load(sample.images[0])  # refuses what is broken or too large before it is decoded again
        except ImageFailure as failed:
            return {"failed": failed.reason}
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        found: dict[str, Any] = {}
        if wants["boxes"]:
            found["boxes"], found["left_out"] = self._detector.find(upright, labels)
        if wants["text"]:
            found["text"] = self._reader.read(upright)
        return found

    def _with(self, sample: Sample, found: dict[str, Any]) -> Sample:
        if "failed" in found:
            self.counts[f"image_{found['failed']}"] += 1
            return sample
        if "boxes" in found:
            self.counts["boxes_added" if found["boxes"] else "boxes_none"] += 1
            self.counts.update(found["left_out"])
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
            done[row.pop("key")] = row
            whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return done
