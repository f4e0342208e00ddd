"""Runs commands of `millrace`: a JSON list of [home, arguments…] in, what they told out.

The first runs as who we are, and so imports everything; the others run without privileges.
"""

from __future__ import annotations

import json
import os
import sys

from click.testing import CliRunner

from millrace.cli import main


def main_as_nobody() -> None:
    told: list[list[object]] = []
    for home, *arguments in json.load(sys.stdin):
        os.environ["MILLRACE_HOME"] = home
        done = CliRunner().invoke(main, arguments)
        crash = done.exception is not None and not isinstance(done.exception, SystemExit)
        if not told:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        told.append(
            ["crash", repr(done.exception), done.stderr] if crash else [done.exit_code, done.stdout, done.stderr]
        )
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main_as_nobody()
