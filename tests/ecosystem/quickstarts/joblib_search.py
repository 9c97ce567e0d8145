"""A search of scikit-learn over joblib's dask backend, scattered data, and parallel calls inside of parallel calls."""

import joblib
import numpy as np
from dask.distributed import Client
from sklearn.datasets import load_digits
from sklearn.model_selection import RandomizedSearchCV
from sklearn.svm import SVC


def nested(n):
    return sum(joblib.Parallel()(joblib.delayed(pow)(i, 2) for i in range(n)))


def fails(x):
    raise ZeroDivisionError(x)


if __name__ == "__main__":
    client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    digits = load_digits()
    space = {
        "C": np.logspace(-6, 6, 13),
        "gamma": np.logspace(-8, 8, 17),
        "class_weight": [None, "balanced"],
    }
    search = RandomizedSearchCV(SVC(kernel="rbf"), space, cv=3, n_iter=4, random_state=0)
    with joblib.parallel_backend("dask"):
        search.fit(digits.data[:300], digits.target[:300])
    assert 0 < search.best_score_ <= 1
    with joblib.parallel_config("dask", scatter=[digits.data]):
        sums = joblib.Parallel()(joblib.delayed(np.sum)(digits.data, axis=i) for i in (0, 1))
    assert all((found == digits.data.sum(axis=i)).all() for i, found in enumerate(sums))
    with joblib.parallel_config("dask"):
        assert joblib.Parallel()(joblib.delayed(nested)(i) for i in range(4)) == [0, 0, 1, 5]
        try:
            joblib.Parallel()(joblib.delayed(fails)(i) for i in range(4))
        except ZeroDivisionError:
            print("done")
    client.close()
