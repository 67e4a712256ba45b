"""The signals that end a verb of the command line, or a node, in order."""

from __future__ import annotations

import signal

# A closed terminal ends them too, unless they were started to outlive it (nohup).
_HANGUP = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
ENDING = (signal.SIGINT, signal.SIGTERM, *_HANGUP)
