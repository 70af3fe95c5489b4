"""A tiny CLIP vision tower, trained on the train pictures of the tiny world to tell colour, shape, digit and place.

CLIP-L/336 knows these things from 400 million captions; this stand-in learns them from labels of the same train
pictures that the experiment uses. The heads are thrown away; what is kept is a plain `CLIPVisionModel`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from mmevol_core.files import write_json
from mmevol_core.sample import Sample
from mmevol_train.standins.scene import COLORS, SHAPES

SIDE = 64
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own channel statistics
STD = (0.26862954, 0.26130258, 0.27577711)
COLOR, KIND, DIGIT, BOX = slice(0, 8), slice(8, 12), slice(12, 22), slice(22, 26)  # places in the head's output
NO_CLASS = -100


@dataclass(frozen=True)
class TowerRecipe:
    """How the tower is trained; stored beside its weights."""

    steps: int
    seed: int = 0
    hidden: int = 96
    layers: int = 4  # features come from layer -2, so the last one is never used
    heads: int = 4
    intermediate: int = 288
    patch: int = 16
    learning_rate: float = 2e-3
    batch: int = 96
    warmup: int = 200
    threads: int = 1


@dataclass(frozen=True)
class Labelled:
    """One picture: pixels (64, 64, 3) uint8, edges in pixels, and its classes (NO_CLASS: does not apply)."""

    pixels: NDArray[np.uint8]
    edges: tuple[int, int, int, int]
    color: int
    kind: int
    digit: int


def labelled(samples: Sequence[Sample], image_root: Path) -> list[Labelled]:
    """Read pictures and derive their classes from the box labels."""
    found = []
    for sample in samples:
        with Image.open(image_root / sample.images[0]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        left, top, right, bottom = (round(edge * SIDE) for edge in sample.boxes[0].xyxy)
        first, second = sample.boxes[0].label.split()
        if first == "digit":
            classes = (NO_CLASS, len(SHAPES), int(second))
        else:
            classes = (COLORS.index(first), SHAPES.index(second), NO_CLASS)
        found.append(Labelled(pixels, (left, top, right, bottom), *classes))
    return found


def moved(picture: Labelled, rng: random.Random) -> Labelled:
    """The same object somewhere else: rolled within the empty margin, shapes mirrored half of the time."""
    pixels, (left, top, right, bottom) = picture.pixels, picture.edges
    if picture.digit == NO_CLASS and rng.random() < 0.5:
        pixels, left, right = pixels[:, ::-1], SIDE - right, SIDE - left
    if rng.random() < 0.7:
        dx = rng.randint(-left + 1, SIDE - right - 1) if left > 0 and right < SIDE - 1 else 0
        dy = rng.randint(-top + 1, SIDE - bottom - 1) if top > 0 and bottom < SIDE - 1 else 0
        pixels = np.roll(pixels, (dy, dx), axis=(0, 1))
        left, right, top, bottom = left + dx, right + dx, top + dy, bottom + dy
    return Labelled(pixels, (left, top, right, bottom), picture.color, picture.kind, picture.digit)


def normalised(pictures: Sequence[Labelled]) -> Tensor:
    """Pixels as CLIP's processor gives them: (B, 3, 64, 64) float32."""
    stacked = torch.from_numpy(np.stack([picture.pixels for picture in pictures])).permute(0, 3, 1, 2).float() / 255
    return (stacked - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def loss_of(output: Tensor, pictures: Sequence[Labelled]) -> Tensor:
    """Cross entropies of the classes that apply, and the box as smooth L1 (shares of the picture); output (B, 26)."""
    total = torch.zeros(())
    for part, values in ((COLOR, "color"), (KIND, "kind"), (DIGIT, "digit")):
        classes = torch.tensor([getattr(picture, values) for picture in pictures])
        if bool((classes != NO_CLASS).any()):
            total = total + nn.functional.cross_entropy(output[:, part], classes, ignore_index=NO_CLASS)
    edges = torch.tensor([picture.edges for picture in pictures]).float() / SIDE
    return total + 10 * nn.functional.smooth_l1_loss(output[:, BOX], edges, beta=0.1)


class Probe(nn.Module):
    """The tower with linear heads on the mean of its patch features at layer -2."""

    def __init__(self, tower: CLIPVisionModel, hidden: int) -> None:
        super().__init__()
        self.tower, self.heads = tower, nn.Linear(hidden, BOX.stop)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, 64, 64) to class scores and edges (B, 26)."""
        features = self.tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]  # (B, patches, hidden)
        scores: Tensor = self.heads(features.mean(dim=1))
        return scores


@torch.no_grad()
def accuracy(model: Probe, pictures: Sequence[Labelled]) -> dict[str, float]:
    """Share right per class, and the mean error of an edge in pixels."""
    output = torch.cat([model(normalised(pictures[k : k + 256])) for k in range(0, len(pictures), 256)])
    result = {}
    for part, name in ((COLOR, "color"), (KIND, "kind"), (DIGIT, "digit")):
        classes = torch.tensor([getattr(picture, name) for picture in pictures])
        applies = classes != NO_CLASS
        result[name] = float((output[:, part].argmax(1) == classes)[applies].float().mean())
    edges = torch.tensor([picture.edges for picture in pictures]).float()
    return {**result, "edge_error_px": float((output[:, BOX] * SIDE - edges).abs().mean())}


def train(
    recipe: TowerRecipe, pictures: Sequence[Labelled], held_out: Sequence[Labelled], out_dir: Path
) -> dict[str, float]:
    """Train for `recipe.steps` and save; `held_out` is only measured, never trained on."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=recipe.hidden, intermediate_size=recipe.intermediate, num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads, image_size=SIDE, patch_size=recipe.patch, projection_dim=recipe.hidden,
        )
    )  # fmt: skip
    model = Probe(tower, recipe.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    shapes = [picture for picture in pictures if picture.digit == NO_CLASS]
    digits = [picture for picture in pictures if picture.digit != NO_CLASS]
    loss = torch.zeros(())
    for step in range(recipe.steps):
        third = recipe.batch // 3
        batch = [moved(p, rng) for p in (*rng.choices(shapes, k=recipe.batch - third), *rng.choices(digits, k=third))]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(
                1.0, (step + 1) / recipe.warmup, 0.02 + (1 - step / recipe.steps) * 1.4
            )
        loss = loss_of(model(normalised(batch)), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()
    measured = {"loss": float(loss.detach()), **accuracy(model, held_out)}
    tower.save_pretrained(out_dir)
    write_json(out_dir / "recipe.json", recipe.__dict__)
    return measured
