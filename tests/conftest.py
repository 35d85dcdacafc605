"""What holds for all tests."""

import signal

# A shell that starts the tests in the background has interrupts ignored, for them and for all that they start; some
# tests are about interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
