"""`inn serve`: a run behind OpenAI's API of completions, many streams at a time."""

from __future__ import annotations

import os
from pathlib import Path

from jsonargparse import Namespace

from inn.cli.common import needs_run
from inn.config.parser import OptionParser
from inn.server.settings import ServerSettings

USAGE = "inn serve RUN [--host ADDRESS] [--port N] [--token TOKEN] [--name NAME] [--streams N] [--tables KIND] ..."
MIB = 1 << 20
DEFAULTS = ServerSettings()


def main(argv: list[str]) -> int:
    """Run `inn serve` until it is interrupted."""
    args = parse(argv)
    settings = settings_of(args)
    needs_run(args.run)
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package)
    from inn.runs.load import check_writes, load
    from inn.server.serving import Server
    from inn.system.device import resolve_device

    device = resolve_device(args.device)
    check_writes(args.run)
    name = args.name or Path(args.run.rstrip("/")).resolve().name
    server = Server(load(args.run).to(device), name, settings)
    print(welcome(args.run, name, server.url, server.app.engine.reading.bytes, settings), flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        print()
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn serve", USAGE, "Serve a run as OpenAI's API does: POST /v1/completions.")
    parser.positional("run", "A run directory.")
    parser.option("--host", default=DEFAULTS.host, help="The address to listen on; others than loopback need a token.")
    parser.option("--port", type=int, default=DEFAULTS.port, help="The port; 0 takes a free one.")
    parser.option("--token", type=str | None, help="What clients have to send; else what INN_TOKEN holds, if anything.")
    parser.option("--name", type=str | None, help="What clients call the model; the folder's name when not given.")
    parser.option("--streams", type=int, default=DEFAULTS.streams, help="Texts written side by side, at most.")
    parser.option("--queue", type=int, default=DEFAULTS.queue, help="Texts that wait for a place, at most.")
    parser.option("--tokens", type=int, default=DEFAULTS.tokens, help="Symbols of a text, at most.")
    parser.option("--seconds", type=float, default=DEFAULTS.seconds, help="Time that a text may take.")
    tables = "What is looked up: own (a copy each), shared (the run's text alone), auto (shared where recall can be)."
    parser.option("--tables", default=DEFAULTS.tables, help=tables)
    parser.option("--conversations", type=int, default=DEFAULTS.conversations, help="Conversations kept, at most.")
    kept = DEFAULTS.conversation_bytes // MIB
    parser.option("--conversation-mib", type=int, default=kept, help="MiB of their states, together.")
    hold = DEFAULTS.conversation_seconds
    parser.option("--conversation-seconds", type=float, default=hold, help="Time that an unused one is kept.")
    threads = "CPU threads that compute; 0: one fewer than cores, since requests are answered beside them."
    parser.option("--threads", type=int, default=DEFAULTS.threads, help=threads)
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    return parser.parse(argv)


def settings_of(args: Namespace) -> ServerSettings:
    """The settings that the arguments and the environment name; raises `InputError` for what cannot be."""
    return ServerSettings(
        host=args.host,
        port=args.port,
        token=args.token if args.token is not None else os.environ.get("INN_TOKEN"),
        streams=args.streams,
        queue=args.queue,
        tokens=args.tokens,
        seconds=args.seconds,
        tables=args.tables,
        threads=args.threads,
        conversations=args.conversations,
        conversation_bytes=args.conversation_mib * MIB,
        conversation_seconds=args.conversation_seconds,
    )


def require(package: str) -> None:
    """Raise `InputError` where a package of the extra is missing."""
    from inn.system import packages

    packages.require(package, "inn serve", "serve")


def welcome(run: str, name: str, url: str, size: int, settings: ServerSettings) -> str:
    """Where it is and how to ask it, in 80 columns but for names that are longer."""
    shown = [] if settings.token is None else ['  -H "Authorization: Bearer $INN_TOKEN" \\']
    lines = [
        f"{run} is served as '{name}' at",
        "",
        f"  {url}/v1",
        "",
        f"curl {url}/v1/completions \\",
        *shown,
        "  -H 'Content-Type: application/json' \\",
        """  -d '{"prompt": "The ", "max_tokens": 50, "seed": 1}'""",
        "",
        f"{settings.streams} texts at a time, {size / MIB:,.2f} MiB each. Also /v1/models, /healthz, /metrics.",
        "Stop with Ctrl-C.",
    ]
    return "\n".join(lines)
