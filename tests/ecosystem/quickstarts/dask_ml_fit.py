"""dask-ml: scalers and linear models on arrays, incremental training, and a hyperparameter search that stops early."""

import numpy as np
from dask.distributed import Client
from dask_ml.datasets import make_classification
from dask_ml.linear_model import LogisticRegression
from dask_ml.model_selection import GridSearchCV, IncrementalSearchCV, train_test_split
from dask_ml.preprocessing import StandardScaler
from dask_ml.wrappers import Incremental, ParallelPostFit
from sklearn.linear_model import SGDClassifier
from sklearn.svm import SVC

if __name__ == "__main__":
    client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    X, y = make_classification(n_samples=1000, n_features=10, chunks=250, random_state=0)
    scaled = StandardScaler().fit_transform(X)
    assert abs(scaled.mean().compute()) < 1e-6
    assert LogisticRegression(max_iter=5).fit(scaled, y).score(scaled, y) > 0.5
    trained = Incremental(SGDClassifier(random_state=0), assume_equal_chunks=True).fit(scaled, y, classes=[0, 1])
    assert trained.predict(scaled).compute().shape == (1000,)
    X_train, X_test, y_train, y_test = train_test_split(scaled, y, random_state=0)
    search = IncrementalSearchCV(
        SGDClassifier(tol=1e-3, penalty="elasticnet", random_state=0),
        {"alpha": np.logspace(-4, 1, 20), "l1_ratio": np.linspace(0, 1, 20)},
        n_initial_parameters=5,
        max_iter=5,
        random_state=0,
    )
    search.fit(X_train, y_train, classes=[0, 1])
    assert search.best_score_ > 0.5
    grid = GridSearchCV(SVC(gamma="auto"), {"C": [0.1, 1.0]}, cv=2)
    small_X, small_y = scaled[:200].compute(), y[:200].compute()
    grid.fit(small_X, small_y)
    assert set(grid.best_params_) == {"C"}
    after = ParallelPostFit(SVC(gamma="auto")).fit(small_X, small_y)
    assert after.predict(scaled).compute().shape == (1000,)
    client.close()
    print("done")
