"""Rebuild the stand-ins: `python -m mmevol_train.standins WORLD [--out DIR] [--only NAME]`, an hour or so.

WORLD is a folder made by the seed stage with every train picture in it: `seed.jsonl`, `images/`, `held_out/`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmevol_core.files import file_digest, read_json, write_json
from mmevol_core.sample import Sample, read_samples
from mmevol_train.standins import language, tower

WEIGHTS = Path(__file__).parent / "weights"
TOWER_SECONDS, LANGUAGE_SECONDS, WARM_SECONDS = 480.0, 2400.0, 900.0


def tokenizer_text(samples: list[Sample]) -> list[str]:
    """Captions and seed questions of the train pictures: words only, nothing is trained on them but the tokenizer."""
    lines = ("\n".join(f"{item.question}\n{item.answer}" for item in sample.rounds[0]) for sample in samples)
    return [f"{sample.caption}\n{text}" for sample, text in zip(samples, lines, strict=True)]


def seal(folder: Path, measured: dict[str, float]) -> None:
    """Add the fingerprint of the weights and what was measured to the recipe."""
    recipe = read_json(folder / "recipe.json")
    write_json(
        folder / "recipe.json", {**recipe, "measured": measured, "weights": file_digest(folder / "model.safetensors")}
    )


def main() -> None:
    """Train the stand-ins that were asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--only", choices=("clip_tower", "qwen2", "llama3"))
    parser.add_argument("--shorten", type=float, default=1.0, help="factor on the training time, for trying things out")
    chosen = parser.parse_args()
    samples = list(read_samples(chosen.world / "seed.jsonl"))
    if chosen.only in (None, "clip_tower"):
        held_out = list(read_samples(chosen.world / "held_out" / "annotations.jsonl"))
        pictures = tower.labelled(samples, chosen.world / "images")
        unseen = tower.labelled(held_out, chosen.world / "held_out" / "images")
        recipe = tower.TowerRecipe(seconds=TOWER_SECONDS * chosen.shorten)
        seal(chosen.out / "clip_tower", tower.train(recipe, pictures, unseen, chosen.out / "clip_tower"))
    text = tokenizer_text(samples)
    if chosen.only in (None, "llama3"):
        plan = language.Recipe(family="llama3", seconds=LANGUAGE_SECONDS * chosen.shorten)
        seal(chosen.out / "llama3", language.train(plan, chosen.out / "llama3", text))
    if chosen.only in (None, "qwen2"):  # lookup, yes/no and letters arrive after long plateaus: once is enough
        plan = language.Recipe(family="qwen2", seconds=WARM_SECONDS * chosen.shorten)
        seal(chosen.out / "qwen2", language.train(plan, chosen.out / "qwen2", text, start=chosen.out / "llama3"))


if __name__ == "__main__":
    main()
