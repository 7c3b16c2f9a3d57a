"""SIGTERM and SIGINT become a request; a second Ctrl-C is obeyed at once."""

import os
import signal

import pytest

from aasist_jax.training.interruption import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as signals:
        assert not signals.requested
        os.kill(os.getpid(), number)
        assert signals.requested
    assert capfd.readouterr().err.count("\n") == 1


def test_a_second_sigint_interrupts() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signals.requested


def test_sigterm_again_changes_nothing() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.requested


def test_the_handlers_from_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_closed_standard_error_does_no_harm() -> None:
    kept = os.dup(2)
    try:
        os.close(2)
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert signals.requested
