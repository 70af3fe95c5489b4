"""`mmevol data curate` and `mmevol data mix`: stages of the data engine run by themselves, configured from conf/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmevol_core.config import fit
from mmevol_core.errors import UserError, unknown
from mmevol_core.files import read_json, replacing, write_json
from mmevol_experiment.charts_data import domains, standalone
from mmevol_experiment.compose import choices, conf_folder

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

    values = composed({"curation": "default", "teacher": "scripted"}, overrides or [])
    section = {**values["curation"], "teacher": values["teacher"], "judge": values.get("judge")}
    config = fit(CurationConfig, section, "curation")
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

    blend = Blend(fit(BlendConfig, composed({"blend": "table5"}, overrides or [])["blend"], "blend"))
    written = 0
    with replacing(out / "conversations.json") as file:
        for row in blend.rows():
            file.write((b",\n" if written else b"[\n") + orjson.dumps(row))
            written += 1
        file.write(b"\n]\n" if written else b"[]\n")
    accounts = blend.as_dict()
    write_json(out / "accounts.json", accounts)
    for name, category in accounts["categories"].items():
        print(f"{name:<18} {category['rows']:>9} rows  {100 * category['share']:5.1f} %")
    missing = f", missing: {', '.join(accounts['missing'])}" if accounts["missing"] else ""
    print(f"{written} rows in {out / 'conversations.json'}{missing}")


def composed(groups: Mapping[str, str], overrides: Sequence[str]) -> dict[str, Any]:
    """The files of some groups of conf/, each under its group's name, with overrides.

    `GROUP=FILE` and `GROUP@SECTION=FILE` choose files, `SECTION.KEY=VALUE` sets a value.
    """
    chosen: dict[str, str] = {"paths": "default", **groups}
    rest: list[str] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        group = key.partition("@")[0]
        if not equals:
            raise UserError(f"cannot read {text!r}: write KEY=VALUE, for example teacher=openai")
        if "." in key and "@" not in key:
            if key.lstrip("+~").partition(".")[0] not in chosen:
                raise unknown("config section", key.lstrip("+~").partition(".")[0], chosen)
            rest.append(f"++{text}")
        elif group not in groups:
            raise unknown("config group", group, groups)
        elif value not in choices(group):
            raise unknown(group, value, choices(group), where=f"conf/{group}")
        else:
            chosen[key] = value
    try:
        with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
            config = hydra_compose(None, [*(f"+{key}={value}" for key, value in chosen.items()), *rest])
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"config: {str(error).splitlines()[0]}") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
