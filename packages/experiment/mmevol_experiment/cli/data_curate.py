"""`mmevol data curate` and `mmevol data mix`: stages of the data engine run by themselves, configured from conf/."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import orjson
import typer

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json, replacing, write_json
from mmevol_experiment.charts_data import domains, standalone
from mmevol_experiment.compose import compose_groups

Overrides = Annotated[list[str] | None, typer.Argument(help="GROUP=FILE and SECTION.KEY=VALUE ...")]


def curate(
    records: Annotated[
        Path, typer.Argument(help="JSONL of records, as `mmevol data import --captions-alone` writes it")
    ],
    out: Annotated[Path, typer.Argument(help="folder that gets seed.jsonl, eliminated.jsonl and the accounts")],
    images: Annotated[Path, typer.Option(help="image root")],
    overrides: Overrides = None,
) -> None:
    """Join, check, complete and sort seed records: curation=default teacher=scripted unless said otherwise."""
    from mmevol_dataengine.curation import STAGE, CurationConfig

    values = compose_groups({"curation": "default", "teacher": "scripted"}, overrides or [])
    config = fit(CurationConfig, {"teacher": values["teacher"], **values["curation"]}, "curation")
    if not records.is_file():
        raise UserError(f"file not found: {records}; `mmevol data import` writes OUT/seed.jsonl")
    if not images.is_dir():
        raise UserError(f"image folder not found: {images}; set --images")
    result = STAGE.run(config, {"seed": records, "images": images}, out)
    figure = out / "distribution.svg"
    figure.write_text(standalone(domains(read_json(result.files["distribution"])["domains"])), encoding="utf-8")
    for name in ("records", "items", "relevance"):
        print(f"{name}: {orjson.dumps(result.metrics[name]).decode()}")
    print(f"{result.files['seed']}, figure: {figure}")


def mix(
    out: Annotated[Path, typer.Argument(help="folder that gets conversations.json and accounts.json")],
    overrides: Overrides = None,
) -> None:
    """Mix instruction data by weights and caps, without records of ours: blend=table5 unless said otherwise."""
    from mmevol_dataengine.blend import Blend, BlendConfig

    blend = Blend(fit(BlendConfig, compose_groups({"blend": "table5"}, overrides or [])["blend"], "blend"))
    if not sum(account.out for account in blend.accounts.values()):
        missing = f"; missing: {', '.join(blend.missing)}" if blend.missing else ""
        refused = sum((account.refused for account in blend.accounts.values()), Counter())
        raise UserError(f"mix: no row can be used (refused: {dict(refused)}{missing})", status=3)
    written = 0
    with replacing(out / "conversations.json") as file:
        for row in blend.rows():
            file.write((b",\n" if written else b"[\n") + orjson.dumps(row))
            written += 1
        file.write(b"\n]\n" if written else b"[]\n")
    accounts = {**blend.as_dict(), **blend.write_found(out)[1]}
    write_json(out / "accounts.json", accounts)
    for name, category in accounts["categories"].items():
        print(f"{name:<18} {category['rows']:>9} rows  {100 * category['share']:5.1f} %")
    missing = f", missing: {', '.join(accounts['missing'])}" if accounts["missing"] else ""
    print(f"{written} rows in {out / 'conversations.json'}{missing}")
    if gate := accounts.get("contamination"):
        print(f"contamination ({gate['action']}): {gate['found']} in {out / 'contaminated.jsonl'}")
