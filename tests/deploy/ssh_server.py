"""An ssh server as a program, for machines without sshd: ``python ssh_server.py PORT HOST_KEY AUTHORIZED_KEYS``.

What a client asks to run is run by a shell; when the client's connection ends, its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncssh


async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what a client asks for."""
    assert process.command is not None
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert child.stdin is not None
    feeding = asyncio.create_task(pump(process.stdin, child.stdin))
    feeding.add_done_callback(lambda feeding, stdin=child.stdin: stdin.close())
    await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
    feeding.cancel()
    code = await child.wait()
    process.exit(code if code >= 0 else 128 - code)


async def pump(source: Any, target: Any) -> None:
    """Pass on what comes from one side, and that it has ended."""
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.write_eof()
    except (OSError, asyncssh.Error):  # either is gone
        return


async def main(port: str, host_key: str, authorized_keys: str) -> None:
    """Serve until the process is ended."""
    server = await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=run,
        encoding=None,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
