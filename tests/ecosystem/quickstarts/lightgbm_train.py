"""lightgbm.dask: training over sockets between the workers, and prediction."""

import dask.array as da
import lightgbm as lgb
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)
    rng = da.random.default_rng(1)
    X = rng.random((1000, 5), chunks=(250, 5))
    y = X[:, 0] * 2 + X[:, 1]
    model = lgb.DaskLGBMRegressor(n_estimators=5, verbose=-1)
    model.fit(X, y)
    assert model.fitted_
    prediction = model.predict(X).compute()
    truth = y.compute()
    assert ((prediction - truth) ** 2).mean() < truth.var()
    classifier = lgb.DaskLGBMClassifier(n_estimators=5, verbose=-1)
    classifier.fit(X, (y > 1.5).astype(int))
    assert classifier.predict_proba(X).compute().shape == (1000, 2)
    client.close()
    cluster.close()
    print("done")
