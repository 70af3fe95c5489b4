"""Hydra's part: group choices and overrides in, plain values out, and its errors as one line each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from mmevol_core.errors import UserError, unknown

EXAMPLE = "for example: mmevol run experiment=quickstart recipe.rounds=2"


def conf_folder() -> Path:
    """The configuration tree: beside the packages in a checkout, inside this package in a wheel."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "conf", here.parents[3] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UserError(f"no conf/config.yaml beside {here.parent}; the installation is incomplete: pip install it again")


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of one experiment as plain values.

    Args:
        overrides: as typed, `group=file` or `key=value`.

    Raises:
        UserError: what cannot be composed, in one line, with near matches; or no experiment was chosen.
    """
    config = _composed("config", [_addressed(text) for text in overrides], overrides)
    if OmegaConf.is_missing(config, "name"):
        raise UserError(f"choose an experiment: experiment={' | '.join(choices('experiment'))}")
    return _plain(config)


def compose_groups(groups: Mapping[str, str], overrides: Sequence[str]) -> dict[str, Any]:
    """Some groups of conf/ alone, each under its group's name, for a command that runs no experiment.

    Args:
        groups: group -> the file it has unless an override chooses another.
        overrides: `GROUP=FILE`, `GROUP@SECTION.KEY=FILE` (its values go elsewhere) or `SECTION.KEY=VALUE`, each also
            with the plus signs that `compose` wants.

    Raises:
        UserError: as `compose`; also for a group or section that the command does not use.
    """
    chosen = {"paths": "default", **groups}
    values = []
    for text in overrides:
        key, equals, value = text.lstrip("+").partition("=")
        group, _, place = key.partition("@")
        section = (place or group).partition(".")[0]
        if not equals:
            raise UserError(f"cannot read {text!r}: write KEY=VALUE, for example teacher=openai")
        if "." in group:
            if section not in chosen:
                raise unknown("config section", section, chosen)
            values.append(f"++{key}={value}")
        elif group not in groups:
            raise unknown("config group", group, groups)
        elif section not in groups:
            raise unknown("config section", section, groups)
        elif value not in choices(group):
            raise unknown(group, value, choices(group), where=f"conf/{group}")
        else:
            chosen[key] = value
    return _plain(_composed(None, [*(f"+{key}={value}" for key, value in chosen.items()), *values], overrides))


def _composed(name: str | None, arguments: list[str], typed: Sequence[str]) -> DictConfig:
    """Hydra's composition, its errors as one line each."""
    try:
        with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
            return hydra_compose(name, arguments)
    except OverrideParseException as error:
        raise UserError(f"cannot read {error.override!r}: write KEY=VALUE, {EXAMPLE}") from error
    except MissingConfigException as error:
        raise _missing_file(error) from error
    except (ConfigCompositionException, HydraException) as error:
        raise _bad_override(error, typed) from error


def choices(group: str) -> list[str]:
    """File names of a group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise UserError(f"config key {key} is not set; set it with {key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise UserError(f"config: {_first_line(error)}") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _missing_file(error: MissingConfigException) -> UserError:
    wanted = str(error.missing_cfg_file or "")
    group, _, name = wanted.rpartition("/")
    if group and (conf_folder() / group).is_dir():
        return unknown(group, name, choices(group), where=f"conf/{group}")
    groups = [path.name for path in conf_folder().iterdir() if path.is_dir()]
    return unknown("config group", wanted or _first_line(error), groups)


def _bad_override(error: Exception, overrides: Sequence[str]) -> UserError:
    """An override whose key does not exist, or whose value does not fit."""
    match = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", str(error))
    if match:
        key = match.group(1) or match.group(2)
        return unknown("config key", key, _sections())
    return UserError(f"config: {_first_line(error)} (given: {' '.join(overrides)})")


def _addressed(override: str) -> str:
    """Let `section.key=value` name a key that no YAML sets; the section's schema refuses wrong ones."""
    return f"++{override}" if re.match(r"[a-z]\w*(\.\w+)+=", override) else override


def _sections() -> list[str]:
    """Keys at the top of a configuration."""
    with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
        return [str(key) for key in hydra_compose("config", [])]


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def sweep_points(overrides: Sequence[str]) -> list[list[str]]:
    """The runs of a sweep: the product of what `sweep=NAME` varies and of comma lists given as overrides."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = [text for text, item in zip(overrides, parsed, strict=True) if not item.is_sweep_override()]
    axes = [
        [f"{item.get_key_element()}={value}" for value in item.sweep_string_iterator()]
        for item in parsed
        if item.is_sweep_override()
    ]
    section = compose(fixed).get("sweep") or {}
    axes += [[f"{key}={value}" for value in values] for key, values in section.items()]
    return [[*fixed, *point] for point in _product(axes)]


def _product(axes: Iterable[list[str]]) -> list[list[str]]:
    points: list[list[str]] = [[]]
    for axis in axes:
        points = [[*point, value] for point in points for value in axis]
    return points
