"""The process of the stand-in: `python -m services.emr.server PORT`."""

from __future__ import annotations

import os
import signal
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from services.emr.cluster import install
from services.place import HOST


def main(port: int) -> None:
    """Serve until asked to end; steps that run are ended by whoever ends this."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    os.environ["MOTO_PORT"] = str(port)
    install()
    application = DomainDispatcherApplication(create_backend_app)
    run_simple(HOST, port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(int(sys.argv[1]))
