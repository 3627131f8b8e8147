"""Names -> models, or one line that says why there is none."""

import errno
import os

import pytest

from anachron.compiler.loader import load
from anachron.compiler.model import ModelError
from anachron.compiler.tokenizer import TokenizerError


def test_an_unknown_name_lists_the_programs():
    with pytest.raises(ModelError, match="no such file, and no program of that name: .*reverse"):
        load("revers")


def test_a_name_that_no_file_can_have_is_no_file():
    for name in ("a" * 300, "a" * 300 + ".model", "a\0b", "a\0b.model", "/".join(["a" * 200] * 30)):
        with pytest.raises(ModelError, match="no such file, and no program of that name"):
            load(name)
        with pytest.raises(TokenizerError, match="no such file"):
            load("reverse", tokenizer=name + ".bin")


def test_what_is_no_regular_file_is_said_to_be_none(tmp_path):
    (tmp_path / "folder.model").mkdir()
    os.mkfifo(tmp_path / "pipe.model")
    for name in ("", ".", os.devnull, tmp_path / "folder.model", tmp_path / "pipe.model"):
        with pytest.raises(ModelError, match="not a regular file|no such file"):
            load(name)


def test_an_error_stays_in_one_line_whatever_the_name_is():
    for name in ("a\nb", "a\rb.model", "a\u2028b.bin"):
        with pytest.raises(ModelError) as caught:
            load(name)
        assert len(str(caught.value).splitlines()) == 1


def test_what_may_not_be_looked_for_is_said_to_be_unreadable(monkeypatch):
    stat = os.stat

    def refuse(path, **options):
        if "shut/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ModelError, match="shut/a.model: cannot be read: Permission denied"):
        load("shut/a.model")


def test_an_empty_file_is_no_model(tmp_path):
    for suffix, message in (("model", "tokenizer"), ("bin", "no checkpoint"), ("npz", "no check")):
        path = tmp_path / f"empty.{suffix}"
        path.touch()
        with pytest.raises(ModelError, match=message):
            load(path)
