"""Preparing pictures on one core: transformers' PIL processor, ours, and ours when the device normalises.

    python benchmarks/images.py [--rounds 3]

CPU milliseconds a picture, decoded and in RGB, arms in turn; the best of the rounds. `bytes` leaves uint8 views, which
the Trainer sends to the device and normalises there; the numbers are the same bit for bit.
"""

import argparse
import json
import time

import numpy as np
import torch
from PIL import Image
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from mmevol_train.images import Normalizer, cut

MMEVOL = ((672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336))
SIZES = ((640, 480), (1024, 768), (1920, 1080), (300, 200))
TILE = 336


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    side = {"height": TILE, "width": TILE}
    official = LlavaNextImageProcessorPil(
        size={"shortest_edge": TILE}, crop_size=side, image_grid_pinpoints=[list(pair) for pair in MMEVOL]
    )
    normalise = Normalizer(official.image_mean, official.image_std)
    arms = {
        "transformers": lambda image: official(image, return_tensors="pt")["pixel_values"][0],
        "ours": lambda image: normalise(torch.from_numpy(cut(image, MMEVOL, TILE))),
        "bytes": lambda image: torch.from_numpy(cut(image, MMEVOL, TILE)),
    }
    for width, height in SIZES:
        pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        equal = torch.equal(arms["transformers"](image), arms["ours"](image))
        best = dict.fromkeys(arms, float("inf"))
        for _ in range(options.rounds):
            for name, work in arms.items():
                start = time.process_time()
                for _ in range(options.pictures):
                    work(image)
                best[name] = min(best[name], (time.process_time() - start) / options.pictures * 1e3)
        faster = {f"{name}_x": round(best["transformers"] / best[name], 2) for name in ("ours", "bytes")}
        shown = {f"{name}_ms": round(value, 1) for name, value in best.items()}
        print(json.dumps({"size": f"{width}x{height}", "equal": equal, **shown, **faster}), flush=True)


if __name__ == "__main__":
    main()
