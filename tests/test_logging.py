"""Verbosity."""

import logging

import pytest

from skrnd._logging import logger, verbosity


@pytest.fixture
def unconfigured(monkeypatch):
    """Logging as a program starts with it: pytest's handlers out of sight."""
    monkeypatch.setattr(logger, "hasHandlers", lambda: False)


@pytest.mark.usefixtures("unconfigured")
def test_messages_reach_stderr_where_logging_is_not_set_up(capsys):
    with verbosity(1):
        logger.info("loss %.1f", 0.5)
    logger.info("silent again")
    assert capsys.readouterr().err == "loss 0.5\n"
    assert logger.handlers == []
    assert logger.level == logging.NOTSET


@pytest.mark.usefixtures("unconfigured")
def test_silence_by_default(capsys):
    with verbosity(0):
        logger.info("nothing")
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_messages_go_where_the_program_sends_them(caplog):
    with verbosity(1):
        logger.info("loss")
    assert caplog.messages == ["loss"]
    assert logger.handlers == []


@pytest.mark.usefixtures("unconfigured")
def test_everything_is_restored_after_an_error():
    with pytest.raises(RuntimeError), verbosity(1):
        raise RuntimeError
    assert logger.handlers == []
    assert logger.level == logging.NOTSET


@pytest.mark.usefixtures("unconfigured")
def test_blocks_that_overlap_in_two_threads(capsys):
    first, second = verbosity(1), verbosity(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    logger.info("the second goes on")
    second.__exit__(None, None, None)
    assert capsys.readouterr().err == "the second goes on\n"
    assert logger.handlers == []
    assert logger.level == logging.NOTSET
