"""Findings: the results of checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """green: as tested. yellow: works with a limit, or differs from what was tested. red: something will fail."""

    green = "green"
    yellow = "yellow"
    red = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding. `fix` is a command or a setting that can be copied; a red finding always has one."""

    level: Level
    subject: str
    text: str
    fix: str = ""


def green(subject: str, text: str) -> Finding:
    return Finding(Level.green, subject, text)


def yellow(subject: str, text: str, fix: str = "") -> Finding:
    return Finding(Level.yellow, subject, text, fix)


def red(subject: str, text: str, fix: str) -> Finding:
    return Finding(Level.red, subject, text, fix)


def in_background(question: Callable[[], Finding], otherwise: Finding, seconds: float) -> Callable[[], Finding]:
    """Start `question` in a thread; return a function that waits for its answer.

    The function returns `otherwise` once `seconds` have passed since the start. Use this for network requests, which
    may hang longer than their own timeout.
    """
    answers: list[Finding] = []
    deadline = time.monotonic() + seconds
    asking = threading.Thread(target=lambda: answers.append(question()), daemon=True)
    asking.start()

    def answer() -> Finding:
        asking.join(max(0.0, deadline - time.monotonic()))
        return answers[0] if answers else otherwise

    return answer
