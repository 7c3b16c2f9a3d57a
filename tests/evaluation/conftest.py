"""Small text files."""

import pytest


@pytest.fixture
def write(tmp_path):
    def write(text, name="file.txt"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
