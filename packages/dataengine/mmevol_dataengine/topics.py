"""Topics of records: embeddings of their text, grouped by k-means, named by the words that set a group apart.

Embeddings are TF-IDF reduced by a truncated SVD (latent semantic analysis), which needs no model, or mean-pooled states
of a transformers text model. k-means leaves no record without a topic; the density clustering of the released code put
99 % of its records in two bins, so the share of the largest topic is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.sample import Sample

Vectors = npt.NDArray[np.float32]  # (records, dimensions)
NAMING_WORDS = 3


class TopicsConfig(Config):
    """How records are grouped."""

    count: int = Field(default=25, ge=1)  # the released code reduces to as many
    embedder: str | None = None  # a transformers text model by id or folder; None: TF-IDF and SVD
    dimensions: int = Field(default=100, ge=1)  # of the SVD; 100 is what latent semantic analysis commonly uses
    features: int = Field(default=20_000, ge=1)  # most frequent words and pairs of words
    batch: int = Field(default=64, ge=1)  # texts the embedder takes at once
    seed: int = 0


@dataclass(frozen=True)
class Topics:
    """A label a record, and how the labels are spread."""

    labels: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Counts by topic, and the share of the largest: near 1 means that the grouping says nothing."""
        counts = Counter(self.labels)
        largest = counts.most_common(1)[0][1] / len(self.labels) if self.labels else 0.0
        return {"topics": dict(counts.most_common()), "largest_share": largest}


def text_of(sample: Sample) -> str:
    """What a record is about: its caption, or else its questions and answers."""
    return sample.caption or " ".join(f"{item.question} {item.answer}" for item in sample.latest)


def topics_of(texts: Sequence[str], config: TopicsConfig) -> Topics:
    """Group texts; the same texts and configuration give the same topics.

    Raises:
        UserError: the embedder cannot be loaded, or scikit-learn is not installed.
    """
    if not texts:
        return Topics(())
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise UserError("topics need scikit-learn: pip install mmevol[dataengine]") from error
    words = TfidfVectorizer(
        max_features=config.features, stop_words="english", sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d_]{3,}\b"
    )
    try:
        table = words.fit_transform(texts)
    except ValueError:  # no text has a word worth counting
        return Topics(("other",) * len(texts))
    vectors = _embedded(texts, config) if config.embedder else _reduced(table, config)
    count = min(config.count, len(np.unique(vectors.round(6), axis=0)))
    cluster = MiniBatchKMeans if len(texts) > 20_000 else KMeans
    groups = cluster(count, random_state=config.seed, n_init=3).fit_predict(vectors)
    names = _names(table, groups, count, words.get_feature_names_out())
    return Topics(tuple(names[group] for group in groups))


def _reduced(table: Any, config: TopicsConfig) -> Vectors:
    """Latent semantic analysis: (records, dimensions), rows of length 1."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    dimensions = min(config.dimensions, min(table.shape) - 1)
    dense = (
        TruncatedSVD(dimensions, random_state=config.seed).fit_transform(table) if dimensions > 0 else table.toarray()
    )
    return np.asarray(normalize(dense), dtype=np.float32)


def _embedded(texts: Sequence[str], config: TopicsConfig) -> Vectors:
    """Mean of the last hidden states of a text model: (records, hidden size), rows of length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(config.embedder)
        model = AutoModel.from_pretrained(config.embedder).eval()
    except (OSError, ValueError) as error:
        raise UserError(f"topics.embedder {config.embedder}: {str(error).splitlines()[0]}") from error
    longest = min(tokenizer.model_max_length, 512)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), config.batch):
            batch = tokenizer(
                list(texts[start : start + config.batch]),
                padding=True, truncation=True, max_length=longest, return_tensors="pt",
            )  # fmt: skip
            states = model(**batch).last_hidden_state  # (texts, tokens, hidden)
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            found.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    return np.concatenate(found)


def _names(table: Any, groups: npt.NDArray[np.int32], count: int, words: Sequence[str]) -> list[str]:
    """Each group's words whose mean weight exceeds the overall mean most; a number tells equal names apart."""
    overall = np.asarray(table.mean(axis=0)).ravel()
    names: list[str] = []
    for group in range(count):
        lead = np.asarray(table[groups == group].mean(axis=0)).ravel() - overall
        best = [words[place] for place in np.argsort(-lead, kind="stable")[:NAMING_WORDS] if lead[place] > 0]
        name = " ".join(best) or "other"
        names.append(name if name not in names else f"{name} {group}")
    return names
