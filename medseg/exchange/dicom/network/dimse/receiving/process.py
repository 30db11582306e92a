"""ListenerProcess: the listener in a process of its own, with limits that the system enforces.

The parent writes the configuration to the child's stdin and keeps it open: when it ends, the parent is gone, and the
child ends too. The child says on its stdout what happens, one JSON object a line: first `{"event": "listening"}`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.errors import InputError, MedsegError, UnreachableError
from medseg.exchange.dicom.network.dimse.config import ListenerConfig

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"
_STACK_BYTES = 1 << 20
"""Of a thread; the usual 8 MB would, times two a connection, count against the limit of memory."""

_STOP_S = 10.0
START_S = 60.0
"""A child that has not said that it listens by then is given up."""

Hear = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class _FirstWord:
    """Where one child listens, or why it does not; `came` once it has said so, or said its last."""

    came: threading.Event = field(default_factory=threading.Event)
    port: int | None = None
    refusal: str = ""


class ListenerProcess:
    """The parent's end: starts the child, hears its events in a thread, tells whether it lives, ends it."""

    def __init__(self, config: ListenerConfig, hear: Hear) -> None:
        self._config = config
        self._hear = hear
        self._child: subprocess.Popen[bytes] | None = None
        self.port = config.port

    @property
    def is_alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process number, None before it was started."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the child, or start it again; it listens when this returns.

        Raises InputError where it cannot for a reason to be mended (a port in use), UnreachableError where it died.
        """
        self.stop()
        first_word = _FirstWord()
        command = [sys.executable, "-c", _START.format(module=__name__), json.dumps(sys.path)]
        # two memory pools instead of one a thread: what one connection used is there for the next
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._child = child
        if child.stdin is None:
            raise RuntimeError("the listener has no stdin")
        said = self._config.model_dump_json(include=set(ListenerConfig.model_fields))  # it may say more, to others
        child.stdin.write(said.encode() + b"\n")
        child.stdin.flush()
        threading.Thread(target=self._relay, args=(child, first_word), daemon=True).start()
        first_word.came.wait(START_S)
        if first_word.port is not None and self.is_alive:
            self.port = first_word.port
            return
        self.stop()
        if first_word.refusal:
            raise InputError(first_word.refusal)
        raise UnreachableError("the DICOM listener did not start. Look at its messages on stderr.")

    def stop(self) -> None:
        """End the child: it lets go of its port, and what was half received is discarded."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None and not child.stdin.closed:
            child.stdin.close()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _relay(self, child: subprocess.Popen[bytes], first_word: _FirstWord) -> None:
        if child.stdout is None:
            return
        with child.stdout:
            for line in child.stdout:
                event = json.loads(line)
                if event["event"] == "refused":
                    first_word.refusal = event["reason"]
                elif event["event"] == "listening":
                    first_word.port = event["port"]
                    first_word.came.set()
                self._hear(event)
        first_word.came.set()


def listen(config: ListenerConfig, tell: Callable[[str, dict[str, str | int]], None], stop: threading.Event) -> None:
    """Listen in this very process, under the configuration's limits, until `stop` is set.

    Raises InputError where the address cannot be had or the TLS files cannot be used.
    """
    _limit_itself(config)
    _silence_libraries()
    from medseg.exchange.dicom.network.dimse.receiving.listener import Listener

    with Listener(config, tell) as listener:
        tell("listening", {"port": listener.port})
        stop.wait()


def main() -> None:
    """The child: listen until stdin or the process is ended."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent ends us
    config = ListenerConfig.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    try:
        listen(config, _say, stop)
    except MedsegError as error:
        _say("refused", {"reason": str(error)})
    os._exit(0)  # threads of hanging connections must not keep the port


def _end_with_parent(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _say(event: str, facts: dict[str, str | int]) -> None:
    """Write an event as one line; a parent that hears no more is gone."""
    line = json.dumps({"event": event, **facts}) + "\n"
    try:
        os.write(1, line.encode())
    except BrokenPipeError:
        os._exit(1)


def _limit_itself(config: ListenerConfig) -> None:
    threading.stack_size(_STACK_BYTES)
    try:
        import resource
    except ImportError:  # not on Windows: there, the limits of the listener itself are all
        return
    memory = config.most_memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images and names


def _silence_libraries() -> None:
    """Pynetdicom and pydicom write what they were sent into their logs and warnings; here they write nothing."""
    warnings.simplefilter("ignore")
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    threading.excepthook = _tell_end_of_thread


def _tell_end_of_thread(hook: threading.ExceptHookArgs) -> None:
    """Say that a thread died: of a peer that sent what the protocol forbids there, or of a bug."""
    event = "protocol error" if hook.exc_type.__name__ == "InvalidEventError" else "bug"
    _say(event, {"kind": hook.exc_type.__name__, "place": _place(hook)})


def _place(hook: threading.ExceptHookArgs) -> str:
    """File and line where an exception arose; its text may quote what was sent."""
    trace = hook.exc_traceback
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
