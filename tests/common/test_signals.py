"""SIGINT and SIGTERM while a training or a suite runs."""

import os
import signal

import pytest

from graphcnn.common.signals import SIGNALS, keyboard_interrupt, stop_signal


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_recorded_and_the_second_one_interrupts(number):
    received = []
    old = signal.signal(number, lambda *_: received.append("acted"))
    try:
        with stop_signal() as stop_requested:
            assert stop_requested() == 0
            os.kill(os.getpid(), number)
            assert (stop_requested(), received) == (number, [])
            os.kill(os.getpid(), number)
            assert (stop_requested(), received) == (number, ["acted"])
        os.kill(os.getpid(), number)
        assert received == ["acted", "acted"]
    finally:
        signal.signal(number, old)


@pytest.mark.parametrize("number", SIGNALS)
def test_both_signals_raise_keyboard_interrupt(number):
    old = {each: signal.getsignal(each) for each in SIGNALS}
    with pytest.raises(KeyboardInterrupt), keyboard_interrupt():
        os.kill(os.getpid(), number)
    assert {each: signal.getsignal(each) for each in SIGNALS} == old
