"""``python -m windrow.cli``: as the command ``windrow``."""

from windrow.cli.main import main

main()
