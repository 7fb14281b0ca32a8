"""What the Python programs share: the cases of a client, one line of outcome each.

An outcome holds nothing that differs by its nature from one cluster to another: no ids, no times.
"""

import json
import os
import sys
import time

HOST, PORT = sys.argv[1].split(":")
CA = os.environ.get("CONFORMANCE_CA")
USER = os.environ.get("CONFORMANCE_USER")
PASSWORD = os.environ.get("CONFORMANCE_PASSWORD")
PATIENCE_SECONDS = 60

CASES = []


def case(function):
    """A case is a function whose result is its outcome; so is what it raises."""
    CASES.append(function)
    return function


def plain(value):
    """The value as JSON has it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple)):
        return [plain(of) for of in value]
    if isinstance(value, dict):
        return {plain(key): plain(of) for key, of in value.items()}
    return value


def attempt(function):
    """What comes of a call: its result, or what it raised."""
    try:
        return plain(function())
    except Exception as error:  # every exception is an outcome
        details = getattr(error, "details", None)
        text = details() if callable(details) else getattr(error, "detail_text", None) or str(error)
        return {"raises": type(error).__name__, "text": text}


def wait_for(condition):
    """Returns once the condition holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if condition():
                return
        except Exception:  # not yet
            pass
        if time.monotonic() > end:
            raise SystemExit("nothing came of waiting")
        time.sleep(0.05)


def run():
    """Runs the cases in their order and prints what comes of each."""
    for function in CASES:
        outcome = attempt(function)
        print(json.dumps([function.__name__, outcome], sort_keys=True), flush=True)
