"""An ssh server as a program, for machines without sshd: ``python ssh_server.py PORT HOST_KEY AUTHORIZED_KEYS``.

What a client asks to run is run by a shell; when the client's connection ends, its standard input does.
"""

from __future__ import annotations

import asyncio
import sys

import asyncssh


async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what a client asks for."""
    assert process.command is not None
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert child.stdin is not None
    await process.redirect(stdout=child.stdout, stderr=child.stderr)
    feeding = asyncio.create_task(feed(process, child.stdin))
    code = await child.wait()
    feeding.cancel()
    process.exit(code if code >= 0 else 128 - code)


async def feed(process: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
    """Pass on what the client writes, and that it has hung up."""
    try:
        while data := await process.stdin.read(65536):
            stdin.write(data)
            await stdin.drain()
    except (OSError, asyncssh.Error):  # either is gone
        pass
    stdin.close()


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
