"""streamz: a stream whose elements are futures on the cluster, gathered in their order."""

import time

from dask.distributed import Client
from streamz import Stream


def square(x):
    time.sleep(0.01)
    return x**2


def total(so_far, x):
    return so_far + x


if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        source = Stream(asynchronous=False, loop=client.loop)
        squares = source.scatter().map(square).buffer(8)
        plain = squares.gather().sink_to_list()
        sums = source.scatter().accumulate(total, start=0).gather().sink_to_list()
        for number in range(20):
            source.emit(number)
        end = time.monotonic() + 60
        while len(plain) < 20 or len(sums) < 20:
            assert time.monotonic() < end, (plain, sums)
            time.sleep(0.01)
        assert plain == [number**2 for number in range(20)]
        assert sums[-1] == sum(range(20))
    print("done")
