"""Which names does Python's standard library use most?  Every source file of it, counted on all cores.

One task a file, and the counts are merged pairwise, as a tree, while files are still being read: a merge is submitted
with futures as its arguments and runs when they are there. No main guard is needed: workers never import this script.

    python examples/word_count.py          # the whole standard library
    python examples/word_count.py 100      # its first hundred files
"""

import keyword
import sys
import sysconfig
import time
import tokenize
from collections import Counter
from pathlib import Path

from windrow import Client, as_completed


def count_names(path: Path) -> Counter[str]:
    """How often each identifier stands in a source file; strings, comments and keywords do not count."""
    counts: Counter[str] = Counter()
    try:
        with tokenize.open(path) as source:
            counts.update(
                token.string
                for token in tokenize.generate_tokens(source.readline)
                if token.type == tokenize.NAME and not keyword.iskeyword(token.string)
            )
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        pass  # a few files of the library's own tests are broken on purpose; what stands before the break is counted
    return counts


def merge(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return left + right


def show_progress(done: int, total: int) -> None:
    """Redraw one line on a terminal; elsewhere print a line at each quarter."""
    if sys.stdout.isatty():
        bar = "█" * (40 * done // total)
        print(f"\r  {bar:<40} {done:,} of {total:,} tasks", end="\n" if done == total else "", flush=True)
    elif done * 4 // total > (done - 1) * 4 // total:
        print(f"  {done:,} of {total:,} tasks", flush=True)


library = Path(sysconfig.get_paths()["stdlib"])
files = sorted(path for path in library.rglob("*.py") if not {"site-packages", "dist-packages"} & set(path.parts))
if len(sys.argv) > 1:
    files = files[: int(sys.argv[1])]

with Client() as client:
    print(client)
    if client.dashboard_link:
        print(f"Watch it at {client.dashboard_link}")
    print(f"Counting names in {len(files):,} files under {library}")

    start = time.perf_counter()
    layer = client.map(count_names, files)
    futures = list(layer)
    while len(layer) > 1:
        pairs = [client.submit(merge, left, right) for left, right in zip(layer[::2], layer[1::2], strict=False)]
        futures += pairs
        layer = pairs + layer[len(pairs) * 2 :]

    for done, _ in enumerate(as_completed(futures), 1):
        show_progress(done, len(futures))
    counts = layer[0].result()
    seconds = time.perf_counter() - start

    print(f"{counts.total():,} names, {len(counts):,} different ones. The top ten:")
    for name, count in counts.most_common(10):
        print(f"  {count:9,}  {name}")
    print(f"{len(futures):,} tasks in {seconds:.1f} s: {len(futures) / seconds:,.0f} tasks a second")
