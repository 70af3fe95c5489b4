"""What a response that is no answer means: its reason, and whether to ask again."""

import pytest

from mmevol_core.failures import classify, retryable


@pytest.mark.parametrize(
    ("status", "raw", "structured", "reason", "again"),
    [
        (200, b"<html>", False, "not_json", True),
        (400, b"no", False, "refused", False),
        (400, b"response_format", True, "no_structure", False),
        (400, b"response_format", False, "refused", False),
        (400, b"context length, response_format", True, "too_long", False),
        (429, b"slow down", False, "http_429", True),
        (429, b"Request too large", False, "too_long", False),
        (408, b"", False, "http_408", True),
        (409, b"", False, "http_409", True),
        (425, b"", False, "http_425", True),
        (410, b"", False, "http_410", False),
        (422, b"", True, "http_422", False),
        (500, b"", False, "http_500", True),
        (529, b"overloaded", False, "http_529", True),
        (999, b"", False, "http_999", True),
    ],
)
def test_a_response_has_one_reason_whichever_way_it_came(status, raw, structured, reason, again):
    assert classify(status, raw, structured=structured) == reason
    assert retryable(reason) is again


@pytest.mark.parametrize(
    ("reason", "again"),
    [("timeout", True), ("connection", True), ("cut_body", True), ("batch_missing", True), ("batch_expired", True),
     ("batch_cancelled", True), ("not_unicode", False), ("refused", False)],
)  # fmt: skip
def test_what_came_without_a_response_is_asked_again_unless_it_is_the_question(reason, again):
    assert retryable(reason) is again
