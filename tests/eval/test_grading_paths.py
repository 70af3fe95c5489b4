"""A folder where a file is wanted, and the other way round."""

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import write_json
from mmevol_eval.benchmarks import find


@pytest.mark.parametrize("name", ["MMStar", "MME", "TextVQA"])
def test_a_folder_in_place_of_a_tsv_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match="is a folder; give the VLMEvalKit TSV"):
        list(find(name).load(tmp_path))


@pytest.mark.parametrize("name", ["VQAv2", "MMSInst"])
def test_a_file_in_place_of_an_official_folder_is_one_line(tmp_path, name):
    write_json(tmp_path / "questions.json", [])
    with pytest.raises(UserError, match="is a file; give the folder that holds it"):
        list(find(name).load(tmp_path / "questions.json"))
