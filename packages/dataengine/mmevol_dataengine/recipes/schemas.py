"""JSON schemas of the two answers, for servers that can be held to one (`endpoint.structured`).

Strict mode wants an object on top and every property required, so the lists stand under a name; the parser reads both.
"""

from __future__ import annotations

from typing import Any


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
ITEMS = _object(
    items=_list(
        _object(
            parent=_TEXT,
            objects=_list(_TEXT),
            skills=_list(_TEXT),
            format=_TEXT,
            question=_TEXT,
            steps=_list(_object(manipulation=_TEXT, description=_TEXT)),
            answer=_TEXT,
        )
    )
)
SCORES = _object(
    scores=_list(
        _object(
            id=_TEXT,
            reason=_TEXT,
            improved={"type": "string", "enum": ["yes", "no"]},
            score={"type": "number"},
        )
    )
)
