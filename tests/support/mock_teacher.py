#!/usr/bin/env python3
# ruff: noqa: C901, PTH105, PTH123, SIM105, SIM115, SIM905 - a stand-alone server, written for speed
"""mock_teacher: an OpenAI-compatible teacher on loopback, for tests and benchmarks.

One file, standard library only (uvloop and orjson are used when importable).
It binds 127.0.0.1 and nothing else, and ends by itself after --max-seconds.

Start it as a process:

    python mock_teacher.py --port 0 --port-file port.txt --latency 0.2 --share-500 0.02
    -> prints one line: READY http://127.0.0.1:40123

or inside a test, in a thread:

    from mock_teacher import MockTeacher
    with MockTeacher(latency=0.01, share_500=0.1, seed=7) as teacher:
        client = OpenAI(base_url=teacher.base_url, api_key="x", max_retries=0)
        ...
        assert teacher.stats()["duplicate_answers"] == 0

Endpoints
    POST /v1/chat/completions          (also without /v1)
    POST /v1/files, GET /v1/files[/ID[/content]], DELETE /v1/files/ID
    POST /v1/batches, GET /v1/batches[/ID], POST /v1/batches/ID/cancel
    GET  /v1/models, GET /health
    GET  /stats            counters, see below
    POST /stats/reset      zero the counters (also forgets which prompts were seen)
    POST /config           {"latency": 0, "share_500": 0.5}: change options while running

What it answers
    A prompt is recognised by its words, whatever its wording:
      score    names the keys improved and score -> JSON list of {improved, score, reason},
               one per "question" key found after the last word "rewritten" or "evolved"
      evolve   names the keys skills and steps   -> JSON list of {objects, skills, format,
               question, steps, answer}
      plain    anything else                     -> one sentence
    A request header "x-mock-kind: score|evolve|plain" overrides it; --rules FILE scripts
    answers ([{"match": REGEX, "content": STR or LIST OF STR taken in turn}, ...]).
    response_format json_object / json_schema wraps the list in an object.

Faults are drawn from blake2b(seed, fingerprint of the prompt, attempt number), so a run has
the same faults whatever the order and the concurrency, and a retry is a new draw. The
fingerprint covers model, texts and images, not sampling parameters.

/stats
    requests, by_status, by_fault, by_kind, by_malformed, in_flight, peak_in_flight,
    connections, open_connections, prompt_tokens, completion_tokens, bytes_in,
    unique_prompts (distinct fingerprints seen), answered_prompts (those with a 200),
    duplicate_requests (requests whose prompt had already been answered with a 200),
    duplicate_answers (200s beyond the first of a prompt), max_attempts, client_aborts
    (client went away before the answer), first_t (first request understood), last_t (unix times).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import hashlib
import json
import math
import os
import random
import re
import signal
import sys
import threading
import time
import zlib

try:
    import orjson

    _loads, _dumps = orjson.loads, orjson.dumps
except ImportError:  # pragma: no cover
    _loads = json.loads

    def _dumps(o):
        return json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode()


MALFORMED = (
    # repairable: the intended value can be recovered in full
    "fenced fenced_nolang trailing_comma line_comment block_comment smart_quotes prose "
    "single_object answers_key list_answer dict_answer raw_newline unescaped_quote "
    "python_literal missing_comma think chinese_punct two_blocks wrapped_object "
    # lossy or hopeless: a good client keeps the whole items, or asks again
    "truncated empty refusal missing_field wrong_count nan"
).split()

DEFAULTS = dict(
    seed=0,
    latency=0.0,
    latency_dist="fixed",
    latency_sigma=0.5,
    latency_per_token=0.0,
    slots=0,
    rpm=0,
    rpm_burst=0,
    tpm=0,
    retry_after=0.0,
    no_retry_after=False,
    share_400=0.0,
    share_429=0.0,
    share_500=0.0,
    share_503=0.0,
    share_drop=0.0,
    share_drop_mid=0.0,
    share_hang=0.0,
    share_non_json=0.0,
    hang_seconds=600.0,
    fail_first=0,
    fail_first_status=500,
    share_poison=0.0,
    share_malformed=0.0,
    malformed_kinds="",
    malformed_sticky=False,
    n_qa="auto",
    share_improved=0.7,
    answer_words=30,
    envelope="openai",
    api_key="",
    check_images=False,
    rules="",
    max_body=64 << 20,
    batch_delay=0.2,
    batch_max_requests=50000,
    batch_max_bytes=200 << 20,
    share_batch_expired=0.0,
    log="",
    max_seconds=3600.0,
    no_uvloop=False,
)

_REASON = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_OBJECTS = [
    "dog",
    "bicycle",
    "table",
    "window",
    "bottle",
    "sign",
    "tree",
    "car",
    "person",
    "chair",
    "lamp",
    "book",
    "bridge",
    "boat",
    "clock",
]
_SKILLS = [
    "Grounding Ability",
    "OCR Ability",
    "Counting Ability",
    "Spatial Relationship Understanding",
    "Attribute Recognition",
    "Context Understanding Ability",
    "Commonsense Reasoning",
]
_FORMATS = [
    "open-ended",
    "multi-choice",
    "fill-in-the-blank",
    "image-captioning",
    "relative_distance",
    "matching",
    "counting",
]
_WORDS = [
    "the",
    "a",
    "near",
    "left",
    "right",
    "behind",
    "front",
    "large",
    "small",
    "red",
    "blue",
    "wooden",
    "old",
    "bright",
    "several",
    "two",
    "three",
    "holding",
    "standing",
    "resting",
    "visible",
    "partly",
    "above",
    "below",
    "while",
    "because",
    "therefore",
    "likely",
    "clearly",
]
_Q = re.compile(r"""["']question["']\s*:""")


# --------------------------------------------------------------------------- answers
class _Rng:
    """Tiny deterministic generator: a blake2b stream (stable across Python versions)."""

    __slots__ = ("buf", "key", "n")

    def __init__(self, *parts):
        self.key = "\x1f".join(map(str, parts)).encode("utf-8", "replace")
        self.buf, self.n = b"", 0

    def _u32(self):
        if not self.buf:
            self.buf = hashlib.blake2b(self.key + self.n.to_bytes(4, "big")).digest()
            self.n += 1
        v, self.buf = self.buf[:4], self.buf[4:]
        return int.from_bytes(v, "big")

    def u(self):
        return self._u32() / 4294967296.0

    def pick(self, seq):
        return seq[self._u32() % len(seq)]

    def normal(self):
        return math.sqrt(-2 * math.log(max(self.u(), 1e-12))) * math.cos(2 * math.pi * self.u())


def make_qas(rng, n, words):
    out = []
    for i in range(n):
        o1, o2 = rng.pick(_OBJECTS), rng.pick(_OBJECTS)
        body = " ".join(rng.pick(_WORDS) for _ in range(words))
        out.append(
            {
                "objects": [o1, o2],
                "skills": [rng.pick(_SKILLS), rng.pick(_SKILLS)],
                "format": rng.pick(_FORMATS),
                "question": f"Question {i + 1}: how does the {o1} relate to the {o2} in the image?",
                "steps": [
                    {"manipulation": f"grounding_1({o1})->bbx_1", "description": f"Locate the {o1} and return bbx_1."},
                    {"manipulation": f"grounding_2({o2})->bbx_2", "description": f"Locate the {o2} and return bbx_2."},
                ],
                "answer": f"The {o1} is {body} the {o2}.",
            }
        )
    return out


def make_scores(rng, n, share_improved):
    out = []
    for _ in range(n):
        yes = rng.u() < share_improved
        s = 4 + rng._u32() % 7 if yes else rng._u32() % 4
        out.append(
            {
                "improved": "yes" if yes else "no",
                "score": s,
                "reason": "The rewritten sample adds objects and reasoning." if yes else "Little was added.",
            }
        )
    return out


def malform(kind, data, rng):
    """A realistic spoiled text for the list DATA. Returns str."""
    s = json.dumps(data, ensure_ascii=False, indent=4)
    key = "answer" if "answer" in data[0] else "reason"
    if kind == "fenced":
        return f"```json\n{s}\n```"
    if kind == "fenced_nolang":
        return f"```\n{s}\n```"
    if kind == "trailing_comma":
        return re.sub(r'"\n(\s*)\}', r'",\n\1}', s)[:-2] + ",\n]"
    if kind == "line_comment":
        return s.replace("{\n", "{ // rewritten sample\n", 1)
    if kind == "block_comment":
        return s.replace("{\n", "{ /* rewritten sample */\n", 1)
    if kind == "smart_quotes":
        return re.sub(r'"([^"\n]*)"', "\u201c\\1\u201d", s)
    if kind == "chinese_punct":
        return re.sub(r'": ', '"\uff1a ', s).replace(",\n", "\uff0c\n")
    if kind == "prose":
        return f"Sure! Here are the rewritten samples [as requested]:\n\n{s}\n\nLet me know if you need more."
    if kind == "think":
        return f'<think>\nThe user wants a JSON list, e.g. [{{"{key}": "..."}}].\n</think>\n\n{s}'
    if kind == "single_object":
        return json.dumps(data[0], ensure_ascii=False, indent=4)
    if kind == "wrapped_object":
        return json.dumps({"samples": data}, ensure_ascii=False, indent=4)
    if kind == "two_blocks":
        return "\n\n".join("```json\n" + json.dumps([d], ensure_ascii=False, indent=2) + "\n```" for d in data)
    if kind == "answers_key":
        return s.replace(f'"{key}":', f'"{key}s":')
    if kind == "list_answer":
        return json.dumps([{**d, key: d[key].split(" ", 2)} for d in data], indent=4)
    if kind == "dict_answer":
        return json.dumps([{**d, key: {"short": d[key][:12], "long": d[key][12:]}} for d in data], indent=4)
    if kind == "raw_newline":
        return s.replace(f'"{key}": "', f'"{key}": "First line\n', 1)
    if kind == "unescaped_quote":
        return s.replace(f'"{key}": "', f'"{key}": "The so-called "main" part. ', 1)
    if kind == "python_literal":
        return repr(data)
    if kind == "missing_comma":
        return s.replace(f',\n        "{key}"', f'\n        "{key}"', 1)
    if kind == "truncated":
        return s[: int(len(s) * (0.35 + 0.6 * rng.u()))]
    if kind == "empty":
        return ""
    if kind == "refusal":
        return "I'm sorry, but I can't help with that request."
    if kind == "missing_field":
        return json.dumps([{k: v for k, v in d.items() if k not in ("steps", "score")} for d in data], indent=4)
    if kind == "wrong_count":
        return json.dumps(data + data[:1], indent=4)
    if kind == "nan":
        return json.dumps([{**d, ("score" if "score" in d else "confidence"): float("nan")} for d in data], indent=4)
    raise ValueError(f"unknown malformed kind {kind}")


class Item:
    """What the teacher has made of one request body."""

    __slots__ = ("body", "fp", "images", "kind", "prompt_tokens", "text")


class Brain:
    """Everything without a socket: reads a body, decides fault and content. Also serves batches."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.rules = []
        if cfg.rules:
            with open(cfg.rules, encoding="utf-8") as f:
                self.rules = [(re.compile(r["match"], re.S), r["content"]) for r in json.load(f)]
        self.reset()
        self.tokens_req = self.tokens_tok = None
        self.t_req = self.t_tok = 0.0
        self.logf = open(cfg.log, "a", buffering=1) if cfg.log else None

    def reset(self):
        self.attempts = collections.Counter()
        self.answered = collections.Counter()
        self.by_status = collections.Counter()
        self.by_fault = collections.Counter()
        self.by_kind = collections.Counter()
        self.by_malformed = collections.Counter()
        self.rule_hits = collections.Counter()
        self.c = collections.Counter()
        self.first_t = self.last_t = None

    # -- reading
    def read(self, obj, headers):
        if not isinstance(obj, dict) or not isinstance(obj.get("messages"), list) or not obj["messages"]:
            raise ValueError("'messages' must be a non-empty list")
        if not obj.get("model"):
            raise ValueError("you must provide a model parameter")
        if obj.get("stream"):
            raise ValueError("mock_teacher does not stream")
        texts, images, n_img = [], 0, 0
        for m in obj["messages"]:
            c = m.get("content") if isinstance(m, dict) else None
            if isinstance(c, str):
                texts.append(c)
            elif isinstance(c, list):
                for p in c:
                    t = p.get("type")
                    if t == "text":
                        texts.append(p.get("text") or "")
                    elif t == "image_url":
                        u = p.get("image_url")
                        u, detail = (u.get("url", ""), u.get("detail", "auto")) if isinstance(u, dict) else (u, "auto")
                        images = zlib.crc32(u.encode(), images)
                        n_img += 85 if detail == "low" else 765
                        if self.cfg.check_images:
                            self.check_image(u)
        it = Item()
        it.text = "\n".join(texts)
        h = hashlib.blake2b(it.text.encode("utf-8", "surrogatepass"), digest_size=8)
        h.update(f"{obj['model']}|{images}".encode())
        it.fp = h.hexdigest()
        it.images = n_img
        it.body = obj
        it.prompt_tokens = 8 + len(it.text) // 4 + n_img
        it.kind = headers.get("x-mock-kind") or self.kind_of(it.text)
        return it

    @staticmethod
    def check_image(u):
        m = re.match(r"data:image/(?:jpeg|png|webp|gif);base64,", u)
        try:
            raw = base64.b64decode(u[m.end() :], validate=True)
        except (AttributeError, ValueError):
            raise ValueError("invalid image data URL") from None
        if not (raw[:3] == b"\xff\xd8\xff" or raw[:8] == b"\x89PNG\r\n\x1a\n" or raw[:4] in (b"RIFF", b"GIF8")):
            raise ValueError("unsupported image bytes")

    @staticmethod
    def kind_of(text):
        if (
            "improved" in text
            and "score" in text
            and ('"improved"' in text or "'improved'" in text or "skills" not in text)
        ):
            return "score"
        if "skills" in text and "steps" in text:
            return "evolve"
        return "plain"

    def count(self, it):
        spec = str(self.cfg.n_qa)
        if spec != "auto" and it.kind != "score":
            lo, _, hi = spec.partition("-")
            lo, hi = int(lo), int(hi or lo)
            return lo + _Rng(self.cfg.seed, it.fp, "n")._u32() % (hi - lo + 1)
        t = it.text
        last_q = max(t.rfind('"question"'), t.rfind("'question'"))
        if last_q < 0:
            return 2
        low = t.lower() if t.isascii() else t  # lower() may change the length of other texts
        words = ("rewritten", "evolved") if it.kind == "score" else ("given",)
        last = len(_Q.findall(t, max(0, *(low.rfind(w, 0, last_q) for w in words))))
        return min(last, 64) or 2

    # -- deciding
    def limited(self, tokens):
        """Seconds to wait, or 0. Token buckets, refilled continuously."""
        cfg, now = self.cfg, time.monotonic()
        wait = 0.0
        if cfg.rpm:
            cap = cfg.rpm_burst or max(1.0, cfg.rpm / 60.0)
            if self.tokens_req is None:
                self.tokens_req, self.t_req = cap, now
            self.tokens_req = min(cap, self.tokens_req + (now - self.t_req) * cfg.rpm / 60.0)
            self.t_req = now
            if self.tokens_req < 1:
                wait = (1 - self.tokens_req) * 60.0 / cfg.rpm
        if cfg.tpm and not wait:
            cap = float(cfg.tpm)
            if self.tokens_tok is None:
                self.tokens_tok, self.t_tok = cap, now
            self.tokens_tok = min(cap, self.tokens_tok + (now - self.t_tok) * cfg.tpm / 60.0)
            self.t_tok = now
            if self.tokens_tok < min(tokens, cap):
                wait = (min(tokens, cap) - self.tokens_tok) * 60.0 / cfg.tpm
            else:
                self.tokens_tok -= tokens
        if cfg.rpm and not wait:
            self.tokens_req -= 1
        return wait

    def fault(self, it):
        """One of: ok 400 429 500 503 drop drop_mid hang non_json; and the attempt number."""
        cfg = self.cfg
        self.attempts[it.fp] += 1
        n = self.attempts[it.fp]
        if self.answered.get(it.fp):
            self.c["duplicate_requests"] += 1
        if n <= cfg.fail_first:
            return str(cfg.fail_first_status), n
        if cfg.share_poison and _Rng(cfg.seed, it.fp, "poison").u() < cfg.share_poison:
            return "400", n
        u = _Rng(cfg.seed, it.fp, n, "fault").u()
        for name in ("400", "429", "500", "503", "drop", "drop_mid", "hang", "non_json"):
            u -= getattr(cfg, "share_" + name)
            if u < 0:
                return name, n
        return "ok", n

    def latency(self, it, n, completion_tokens):
        cfg = self.cfg
        t = cfg.latency
        if t and cfg.latency_dist == "lognormal":
            t *= math.exp(cfg.latency_sigma * _Rng(cfg.seed, it.fp, n, "lat").normal())
        elif t and cfg.latency_dist == "uniform":
            t *= 2 * _Rng(cfg.seed, it.fp, n, "lat").u()
        return t + cfg.latency_per_token * completion_tokens

    def content(self, it, n):
        cfg = self.cfg
        for i, (rx, content) in enumerate(self.rules):
            if rx.search(it.text):
                if isinstance(content, list):
                    k = self.rule_hits[i]
                    self.rule_hits[i] += 1
                    return content[k % len(content)]
                return content
        rng = _Rng(cfg.seed, it.fp, "content")
        if it.kind == "score":
            data = make_scores(rng, self.count(it), cfg.share_improved)
        elif it.kind == "evolve":
            data = make_qas(rng, self.count(it), cfg.answer_words)
        else:
            data = None
        if cfg.share_malformed and data is not None:
            m = _Rng(cfg.seed, it.fp, "m", 0 if cfg.malformed_sticky else n)
            if m.u() < cfg.share_malformed:
                kinds = cfg.malformed_kinds.split(",") if cfg.malformed_kinds else MALFORMED
                kind = m.pick(kinds)
                self.by_malformed[kind] += 1
                return malform(kind, data, m)
        fmt = it.body.get("response_format") or {}
        if data is None:
            text = "The picture shows " + " ".join(rng.pick(_WORDS) for _ in range(cfg.answer_words)) + "."
            return json.dumps({"answer": text}) if fmt.get("type", "text") != "text" else text
        if fmt.get("type") == "json_object":
            data = {"items": data}
        elif fmt.get("type") == "json_schema":
            schema = (fmt.get("json_schema") or {}).get("schema") or {}
            if schema.get("type") == "object":
                name = next(
                    (k for k, v in (schema.get("properties") or {}).items() if v.get("type") == "array"), "items"
                )
                data = {name: data}
        return json.dumps(data, ensure_ascii=False)

    def completion(self, it, content, n):
        used = max(1, len(content) // 4)
        limit = it.body.get("max_completion_tokens") or it.body.get("max_tokens")
        reason = "stop"
        if isinstance(limit, int) and used > limit:
            content, used, reason = content[: 4 * limit], limit, "length"
        self.c["prompt_tokens"] += it.prompt_tokens
        self.c["completion_tokens"] += used
        self.by_kind[it.kind] += 1
        if self.answered[it.fp]:
            self.c["duplicate_answers"] += 1
        self.answered[it.fp] += 1
        r = {
            "id": f"chatcmpl-{it.fp}-{n}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": it.body["model"],
            "system_fingerprint": "fp_mock",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, "refusal": None},
                    "logprobs": None,
                    "finish_reason": reason,
                }
            ],
            "usage": {
                "prompt_tokens": it.prompt_tokens,
                "completion_tokens": used,
                "total_tokens": it.prompt_tokens + used,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }
        return {"code": 200, "data": {"response": r}} if self.cfg.envelope == "mmevol" else r

    def stats(self):
        d = {
            k: self.c[k]
            for k in (
                "requests",
                "in_flight",
                "peak_in_flight",
                "connections",
                "open_connections",
                "prompt_tokens",
                "completion_tokens",
                "bytes_in",
                "duplicate_requests",
                "duplicate_answers",
                "client_aborts",
            )
        }
        d.update(
            by_status={str(k): v for k, v in self.by_status.items()},
            by_fault=dict(self.by_fault),
            by_kind=dict(self.by_kind),
            by_malformed=dict(self.by_malformed),
            unique_prompts=len(self.attempts),
            answered_prompts=len(self.answered),
            max_attempts=max(self.attempts.values(), default=0),
            first_t=self.first_t,
            last_t=self.last_t,
        )
        return d


def error_body(status, message):
    types = {400: "invalid_request_error", 401: "invalid_api_key", 429: "rate_limit_exceeded"}
    return {
        "error": {
            "message": message,
            "type": types.get(status, "server_error"),
            "param": None,
            "code": types.get(status),
        }
    }


# --------------------------------------------------------------------------- files and batches
class Batches:
    def __init__(self, brain, loop):
        self.brain, self.loop = brain, loop
        self.files, self.batches, self.n = {}, {}, 0

    def new_id(self, prefix):
        self.n += 1
        return f"{prefix}mock{self.n:08d}"

    def add_file(self, name, purpose, data):
        fid = self.new_id("file-")
        meta = {
            "id": fid,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[fid] = (meta, data)
        return meta

    def create(self, req):
        fid = req.get("input_file_id")
        if fid not in self.files:
            return 400, error_body(400, f"No such File object: {fid}")
        if req.get("endpoint") != "/v1/chat/completions":
            return 400, error_body(400, "endpoint must be /v1/chat/completions")
        bid, now = self.new_id("batch_"), int(time.time())
        b = {
            "id": bid,
            "object": "batch",
            "endpoint": req["endpoint"],
            "errors": None,
            "input_file_id": fid,
            "completion_window": req.get("completion_window", "24h"),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "in_progress_at": None,
            "expires_at": now + 86400,
            "finalizing_at": None,
            "completed_at": None,
            "failed_at": None,
            "expired_at": None,
            "cancelling_at": None,
            "cancelled_at": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": req.get("metadata"),
        }
        self.batches[bid] = b
        self.loop.call_later(self.brain.cfg.batch_delay / 2, self.validate, b)
        return 200, b

    def validate(self, b):
        cfg, raw = self.brain.cfg, self.files[b["input_file_id"]][1]
        errs, ids, rows = [], set(), []
        for i, line in enumerate(raw.split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = _loads(line)
                if row["custom_id"] in ids:
                    raise ValueError("duplicate_custom_id")
                if row.get("method") != "POST" or row.get("url") != b["endpoint"]:
                    raise ValueError("invalid_url")
                ids.add(row["custom_id"])
                rows.append(row)
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                errs.append({"code": str(e)[:80], "line": i, "message": f"line {i}: {e}", "param": None})
        if len(raw) > cfg.batch_max_bytes or len(rows) > cfg.batch_max_requests or not rows:
            errs.append(
                {"code": "batch_size", "line": None, "message": "too many requests or bytes, or empty", "param": None}
            )
        if b["status"] != "validating":
            return
        if errs:
            b.update(status="failed", failed_at=int(time.time()), errors={"object": "list", "data": errs[:50]})
            return
        b.update(status="in_progress", in_progress_at=int(time.time()))
        b["request_counts"]["total"] = len(rows)
        self.loop.call_later(cfg.batch_delay / 2, self.finish, b, rows)

    def finish(self, b, rows):
        if b["status"] == "cancelled":
            return
        br, cfg = self.brain, self.brain.cfg
        out, err, expired = [], [], 0
        for row in rows:
            rid = self.new_id("req_")
            if cfg.share_batch_expired and _Rng(cfg.seed, row["custom_id"], "exp").u() < cfg.share_batch_expired:
                expired += 1
                err.append(
                    {
                        "id": rid,
                        "custom_id": row["custom_id"],
                        "response": None,
                        "error": {"code": "batch_expired", "message": "not executed before the window closed"},
                    }
                )
                continue
            br.c["requests"] += 1
            try:
                it = br.read(row.get("body"), {})
            except ValueError as e:
                status, body = 400, error_body(400, str(e))
            else:
                f, n = br.fault(it)
                status = 200 if f == "ok" else int(f) if f.isdigit() else 500
                br.by_fault[f] += 1
                body = br.completion(it, br.content(it, n), n) if status == 200 else error_body(status, "mock fault")
            br.by_status[status] += 1
            line = {
                "id": rid,
                "custom_id": row["custom_id"],
                "error": None,
                "response": {"status_code": status, "request_id": rid, "body": body},
            }
            (out if status == 200 else err).append(line)
        random.Random(cfg.seed).shuffle(out)  # the real service does not keep the order
        for name, rows_ in (("output", out), ("error", err)):
            if rows_:
                data = b"\n".join(_dumps(r) for r in rows_) + b"\n"
                b[f"{name}_file_id"] = self.add_file(f"{b['id']}_{name}.jsonl", "batch_output", data)["id"]
        b["request_counts"].update(completed=len(out), failed=len(err))
        now = int(time.time())
        b.update(
            finalizing_at=now,
            **({"status": "expired", "expired_at": now} if expired else {"status": "completed", "completed_at": now}),
        )

    def handle(self, method, path, headers, body):
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            if method == "POST":
                m = re.search(r'boundary="?([^";]+)', headers.get("content-type", ""))
                if not m:
                    return 400, error_body(400, "multipart/form-data expected")
                fields, name = {}, "upload"
                for part in body.split(b"--" + m.group(1).encode()):
                    head, sep, val = part.partition(b"\r\n\r\n")
                    nm = re.search(rb'[; ]name="([^"]*)"', head)
                    if sep and nm:
                        fields[nm.group(1).decode()] = val[:-2]
                        fn = re.search(rb'filename="([^"]*)"', head)
                        if fn:
                            name = fn.group(1).decode()
                if "file" not in fields or "purpose" not in fields:
                    return 400, error_body(400, "file and purpose are required")
                return 200, self.add_file(name, fields["purpose"].decode(), fields["file"])
            if len(parts) == 1:
                return 200, {"object": "list", "data": [m for m, _ in self.files.values()], "has_more": False}
            if parts[1] not in self.files:
                return 404, error_body(404, "no such file")
            meta, data = self.files[parts[1]]
            if method == "DELETE":
                del self.files[parts[1]]
                return 200, {"id": parts[1], "object": "file", "deleted": True}
            return (200, data) if parts[2:] == ["content"] else (200, meta)
        if method == "POST" and len(parts) == 1:
            return self.create(_loads(body))
        if len(parts) == 1:
            return 200, {"object": "list", "data": list(self.batches.values()), "has_more": False}
        b = self.batches.get(parts[1])
        if b is None:
            return 404, error_body(404, "no such batch")
        if method == "POST" and parts[2:] == ["cancel"] and b["status"] in ("validating", "in_progress"):
            b.update(status="cancelled", cancelled_at=int(time.time()))
        return 200, b


# --------------------------------------------------------------------------- HTTP
class Conn(asyncio.Protocol):
    def __init__(self, server):
        self.s, self.buf, self.busy, self.timer, self.tr = server, bytearray(), False, None, None
        self.head = None  # (method, path, headers, body_start, length or None when chunked)

    def connection_made(self, tr):
        self.tr = tr
        c = self.s.brain.c
        c["connections"] += 1
        c["open_connections"] += 1
        self.s.conns.add(self)

    def connection_lost(self, exc):
        c = self.s.brain.c
        c["open_connections"] -= 1
        self.s.conns.discard(self)
        if self.timer:
            self.timer.cancel()
        if self.busy:
            c["client_aborts"] += 1
            self.done()
        self.tr = None

    def done(self):
        if self.busy:
            self.busy = False
            self.s.brain.c["in_flight"] -= 1
            self.s.release(self)

    def data_received(self, data):
        self.buf += data
        if not self.busy:
            self.parse()

    def parse(self):
        while not self.busy and self.tr is not None:
            if self.head is None:
                i = self.buf.find(b"\r\n\r\n")
                if i < 0:
                    return
                lines = bytes(self.buf[:i]).decode("latin-1").split("\r\n")
                try:
                    method, path, _ = lines[0].split(" ", 2)
                except ValueError:
                    self.tr.close()
                    return
                h = {}
                for ln in lines[1:]:
                    k, _, v = ln.partition(":")
                    h[k.strip().lower()] = v.strip()
                chunked = "chunked" in h.get("transfer-encoding", "").lower()
                length = None if chunked else int(h.get("content-length") or 0)
                if h.get("expect", "").lower() == "100-continue":
                    self.tr.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.head = (method, path, h, i + 4, length)
            method, path, h, start, length = self.head
            if length is not None:
                if length > self.s.cfg.max_body:
                    self.head, self.buf = None, bytearray()
                    self.send(413, error_body(400, "body too large"), close=True)
                    return
                if len(self.buf) < start + length:
                    return
                body = bytes(self.buf[start : start + length])
                del self.buf[: start + length]
            else:
                body, end = self.dechunk(start)
                if body is None:
                    return
                del self.buf[:end]
            self.head = None
            self.s.brain.c["bytes_in"] += len(body)
            self.close_after = h.get("connection", "").lower() == "close"
            self.s.route(self, method, path.split("?", 1)[0], h, body)

    def dechunk(self, pos):
        out = []
        while True:
            i = self.buf.find(b"\r\n", pos)
            if i < 0:
                return None, 0
            n = int(bytes(self.buf[pos:i]).split(b";")[0], 16)
            if len(self.buf) < i + 2 + n + 2:
                return None, 0
            if n == 0:
                return b"".join(out), i + 4
            out.append(bytes(self.buf[i + 2 : i + 2 + n]))
            pos = i + 2 + n + 2

    def send(self, status, body, headers=(), close=False, cut=False):
        if self.tr is None:
            return
        ctype = "application/json"
        if isinstance(body, str):
            body, ctype = body.encode(), "text/html"
        elif not isinstance(body, (bytes, bytearray)):
            body = _dumps(body)
        close = close or getattr(self, "close_after", False)
        extra = "".join(f"{k}: {v}\r\n" for k, v in headers)
        head = (
            f"HTTP/1.1 {status} {_REASON.get(status, 'Status')}\r\ncontent-type: {ctype}\r\n"
            f"content-length: {len(body)}\r\nconnection: {'close' if close else 'keep-alive'}\r\n{extra}\r\n"
        ).encode()
        if cut:
            self.tr.write(head + body[: len(body) // 2])
        else:
            self.tr.write(head + body)
        self.done()
        if close or cut:
            self.tr.close()
        elif self.buf:
            self.s.loop.call_soon(self.parse)


class Server:
    def __init__(self, cfg, loop):
        self.cfg, self.loop = cfg, loop
        self.brain = Brain(cfg)
        self.batches = Batches(self.brain, loop)
        self.conns, self.queue, self.serving = set(), collections.deque(), set()

    # slots: at most cfg.slots answers are being "generated" at once, the others wait their turn
    def release(self, conn):
        if conn in self.serving:
            self.serving.discard(conn)
            while self.queue and len(self.serving) < self.cfg.slots:
                nxt, delay, fn = self.queue.popleft()
                if nxt.busy:
                    self.serving.add(nxt)
                    nxt.timer = self.loop.call_later(delay, fn)

    def start(self, conn, delay, fn):
        if self.cfg.slots and len(self.serving) >= self.cfg.slots:
            self.queue.append((conn, delay, fn))
            return
        if self.cfg.slots:
            self.serving.add(conn)
        if delay > 0:
            conn.timer = self.loop.call_later(delay, fn)
        else:
            fn()

    def route(self, conn, method, path, headers, body):
        p = path[3:] if path.startswith("/v1/") else path
        try:
            if p.endswith("/chat/completions") and method == "POST":
                return self.chat(conn, headers, body)
            if p == "/stats" and method == "GET":
                return conn.send(200, self.brain.stats())
            if p == "/stats/reset" and method == "POST":
                keep = {k: self.brain.c[k] for k in ("in_flight", "open_connections")}
                self.brain.reset()
                self.brain.c.update(keep)
                return conn.send(200, {"ok": True})
            if p == "/config" and method == "POST":
                for k, v in _loads(body).items():
                    if k not in DEFAULTS:
                        return conn.send(400, error_body(400, f"unknown option {k}"))
                    setattr(self.cfg, k, v)
                self.brain.tokens_req = self.brain.tokens_tok = None
                return conn.send(200, {"ok": True})
            if p == "/health":
                return conn.send(200, {"ok": True})
            if p == "/models":
                return conn.send(
                    200,
                    {
                        "object": "list",
                        "data": [{"id": "mock-teacher", "object": "model", "created": 0, "owned_by": "mock"}],
                    },
                )
            if p.split("/")[1] in ("files", "batches"):
                return conn.send(*self.batches.handle(method, p, headers, body))
            return conn.send(404, error_body(404, f"no route {method} {path}"))
        except (ValueError, KeyError, TypeError) as e:
            return conn.send(400, error_body(400, f"{type(e).__name__}: {e}"))

    def chat(self, conn, headers, body):
        br, cfg = self.brain, self.cfg
        c = br.c
        c["requests"] += 1
        c["in_flight"] += 1
        if c["in_flight"] > c["peak_in_flight"]:
            c["peak_in_flight"] = c["in_flight"]
        conn.busy = True
        if cfg.api_key and headers.get("authorization") != f"Bearer {cfg.api_key}":
            return self.reply(conn, None, 0, 401, "auth", error_body(401, "Incorrect API key provided"))
        try:
            it = br.read(_loads(body), headers)
        except (ValueError, AttributeError, TypeError) as e:
            return self.reply(conn, None, 0, 400, "bad_request", error_body(400, str(e)))
        br.first_t = br.first_t or time.time()
        if cfg.rpm or cfg.tpm:
            wait = br.limited(it.prompt_tokens + 300)
            if wait:
                if br.answered.get(it.fp):
                    c["duplicate_requests"] += 1
                return self.reply(conn, it, 0, 429, "rate_limit", error_body(429, "Rate limit reached"), wait=wait)
        f, n = br.fault(it)
        if f == "ok":
            content = br.content(it, n)
            delay = br.latency(it, n, len(content) // 4)
            self.start(conn, delay, lambda: self.reply(conn, it, n, 200, "ok", content))
        elif f == "hang":
            conn.timer = self.loop.call_later(cfg.hang_seconds, self.cut, conn, it, n, "hang")
        elif f == "drop":
            self.start(conn, br.latency(it, n, 0), lambda: self.cut(conn, it, n, "drop"))
        elif f == "429":
            self.reply(conn, it, n, 429, f, error_body(429, "Rate limit reached (random)"), wait=cfg.retry_after or 0.5)
        elif f == "drop_mid":
            self.start(conn, br.latency(it, n, 0), lambda: self.reply(conn, it, n, 200, f, None))
        elif f == "non_json":
            self.start(
                conn,
                br.latency(it, n, 0),
                lambda: self.reply(conn, it, n, 200, f, "<html><body>502 Bad Gateway</body></html>"),
            )
        else:
            self.start(
                conn,
                br.latency(it, n, 0),
                lambda: self.reply(conn, it, n, int(f), f, error_body(int(f), f"mock fault {f}")),
            )

    def note(self, it, n, status, fault):
        br = self.brain
        br.by_status[status] += 1
        br.by_fault[fault] += 1
        br.last_t = time.time()
        if br.logf:
            br.logf.write(
                json.dumps(
                    {
                        "t": round(br.last_t, 4),
                        "fp": it.fp if it else None,
                        "attempt": n,
                        "kind": it.kind if it else None,
                        "status": status,
                        "fault": fault,
                    }
                )
                + "\n"
            )

    def cut(self, conn, it, n, fault):
        self.note(it, n, 0, fault)
        conn.done()
        if conn.tr:
            conn.tr.abort()

    def reply(self, conn, it, n, status, fault, payload, wait=0.0):
        if conn.tr is None:
            return
        self.note(it, n, status, fault)
        if fault == "ok":
            return conn.send(200, self.brain.completion(it, payload, n))
        if fault == "drop_mid":
            return conn.send(200, {"id": "x", "choices": [{"message": {"content": "cut " * 200}}]}, cut=True)
        extra = []
        if status == 429 and not self.cfg.no_retry_after:
            w = self.cfg.retry_after or wait
            extra = [
                ("retry-after", max(1, math.ceil(w))),
                ("retry-after-ms", max(1, math.ceil(w * 1000))),
                ("x-ratelimit-limit-requests", self.cfg.rpm),
                ("x-ratelimit-remaining-requests", 0),
            ]
        conn.send(status, payload, extra)


async def _serve(cfg, port, ready, stop):
    loop = asyncio.get_running_loop()
    server = Server(cfg, loop)
    srv = await loop.create_server(lambda: Conn(server), "127.0.0.1", port, backlog=4096)
    ready(srv.sockets[0].getsockname()[1], server)
    try:
        await asyncio.wait_for(stop.wait(), cfg.max_seconds)
    except TimeoutError:
        pass
    srv.close()
    for c in list(server.conns):
        if c.tr:
            c.tr.abort()


def _new_loop(cfg):
    if not cfg.no_uvloop:
        try:
            import uvloop

            return uvloop.new_event_loop()
        except ImportError:
            pass
    return asyncio.new_event_loop()


def make_config(**kw):
    unknown = set(kw) - set(DEFAULTS)
    if unknown:
        raise TypeError(f"unknown options: {sorted(unknown)}")
    cfg = argparse.Namespace(**{**DEFAULTS, **kw})
    bad = set(cfg.malformed_kinds.split(",")) - set(MALFORMED) - {""}
    if bad:
        raise ValueError(f"unknown malformed kinds: {sorted(bad)}; known: {' '.join(MALFORMED)}")
    return cfg


class MockTeacher:
    """Context manager: the server in a thread of this process. Options as on the command line."""

    def __init__(self, port=0, **options):
        self.cfg, self.port = make_config(**options), port

    def __enter__(self):
        up = threading.Event()
        self.loop = _new_loop(self.cfg)

        def ready(port, server):
            self.port, self.server = port, server
            up.set()

        def main():
            asyncio.set_event_loop(self.loop)
            self.stop = asyncio.Event()
            try:
                self.loop.run_until_complete(_serve(self.cfg, self.port, ready, self.stop))
                self.loop.run_until_complete(asyncio.sleep(0))
            finally:
                self.loop.close()

        self.thread = threading.Thread(target=main, name="mock-teacher", daemon=True)
        self.thread.start()
        if not up.wait(10):
            raise RuntimeError("mock teacher did not start")
        return self

    def __exit__(self, *exc):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self):
        return self.url + "/v1"

    def stats(self):
        import concurrent.futures

        f = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(lambda: f.set_result(self.server.brain.stats()))
        return f.result(5)


def parser():
    p = argparse.ArgumentParser(
        prog="mock_teacher.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a = p.add_argument
    a("--port", type=int, default=8399, help="0 picks a free one (default 8399)")
    a("--port-file", default="", help="write the port there once listening")
    a("--max-seconds", type=float, help="end after this long (default 3600)")
    a("--seed", type=int, help="seed of every draw (default 0)")
    g = p.add_argument_group("speed").add_argument
    g("--latency", type=float, help="seconds before an answer (median for lognormal, mean for uniform)")
    g("--latency-dist", choices=["fixed", "lognormal", "uniform"])
    g("--latency-sigma", type=float, help="sigma of the log-normal (default 0.5)")
    g("--latency-per-token", type=float, help="added seconds for each completion token")
    g("--slots", type=int, help="answers generated at once; others queue (0: no limit)")
    g("--rpm", type=float, help="requests per minute; beyond: 429 + Retry-After")
    g("--rpm-burst", type=float, help="bucket size (default: one second's worth)")
    g("--tpm", type=float, help="tokens per minute; beyond: 429 + Retry-After")
    g("--retry-after", type=float, help="fixed Retry-After instead of the computed one")
    g("--no-retry-after", action="store_true", default=None, help="429 without that header")
    g = p.add_argument_group("faults (shares between 0 and 1)").add_argument
    for name, text in (
        ("400", "content refused"),
        ("429", "random rate limiting"),
        ("500", "server error"),
        ("503", "overloaded"),
        ("drop", "connection closed instead of an answer"),
        ("drop-mid", "connection closed half-way through the body"),
        ("hang", "no answer for --hang-seconds, then closed"),
        ("non-json", "HTML with status 200"),
        ("poison", "prompts that get 400 at every attempt"),
    ):
        g(f"--share-{name}", type=float, help=text)
    g("--hang-seconds", type=float, help="default 600")
    g("--fail-first", type=int, help="fail the first N attempts of every prompt")
    g("--fail-first-status", type=int, help="with this status (default 500)")
    g = p.add_argument_group("answers").add_argument
    g("--share-malformed", type=float, help="share of answers spoiled")
    g("--malformed-kinds", help="comma list out of: " + " ".join(MALFORMED))
    g("--malformed-sticky", action="store_true", default=None, help="the same prompt is spoiled at every attempt")
    g("--n-qa", help="Q&A per evolution answer: auto (as many as given), N or LO-HI")
    g("--share-improved", type=float, help="share of 'yes' in scores (default 0.7)")
    g("--answer-words", type=int, help="length of an answer (default 30)")
    g("--envelope", choices=["openai", "mmevol"], help="mmevol nests the answer under data.response")
    g("--rules", help="JSON file of scripted answers")
    g("--api-key", help="require this bearer key (401 otherwise)")
    g("--check-images", action="store_true", default=None, help="decode data URLs; 400 when broken")
    g("--max-body", type=int, help="bytes, beyond: 413")
    g = p.add_argument_group("batches").add_argument
    g("--batch-delay", type=float, help="seconds from creation to completion (default 0.2)")
    g("--batch-max-requests", type=int)
    g("--batch-max-bytes", type=int)
    g("--share-batch-expired", type=float, help="share of lines not executed; the batch ends 'expired'")
    g = p.add_argument_group("other").add_argument
    g("--log", help="append one JSON line per chat request to this file")
    g("--no-uvloop", action="store_true", default=None)
    return p


def main(argv=None):
    ns = vars(parser().parse_args(argv))
    port, port_file = ns.pop("port"), ns.pop("port_file")
    try:
        cfg = make_config(**{k: v for k, v in ns.items() if v is not None})
    except (TypeError, ValueError) as e:
        sys.exit(f"mock_teacher: {e}")
    loop = _new_loop(cfg)
    asyncio.set_event_loop(loop)
    stop = asyncio.Event()
    for s in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(s, stop.set)

    def ready(p, _server):
        if port_file:
            with open(port_file + ".tmp", "w") as f:
                f.write(str(p))
            os.replace(port_file + ".tmp", port_file)
        print(f"READY http://127.0.0.1:{p}", flush=True)

    loop.run_until_complete(_serve(cfg, port, ready, stop))


if __name__ == "__main__":
    main()
