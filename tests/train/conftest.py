"""Pretrained random tiny models, one of each family for a test file."""

import pytest
from support.tiny_models import backbone, world
from support.training_runs import COMMON

from mmevol_train import pretrain
from mmevol_train.config import PretrainConfig


@pytest.fixture(scope="module", params=["qwen2", "llama3"])
def base(request, tmp_path_factory):
    """(folder, backbone, pretrained checkpoint, captions, images) of one family."""
    root = tmp_path_factory.mktemp(request.param)
    parts = backbone(root, request.param)
    data, images = world(root)
    out = root / "pretrain"
    out.mkdir()
    result = pretrain.run(PretrainConfig(backbone=parts, **COMMON), {"captions": data, "images": images}, out)
    return root, parts, result, data, images
