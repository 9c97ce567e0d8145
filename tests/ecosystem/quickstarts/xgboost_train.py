"""xgboost.dask: training on partitions that stay on their workers, prediction, and the classifier."""

import dask.array as da
import dask.distributed
from xgboost import dask as dxgb

if __name__ == "__main__":
    cluster = dask.distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = dask.distributed.Client(cluster)
    rng = da.random.default_rng(1)
    X = rng.random((1000, 5), chunks=(250, 5))
    y = (X[:, 0] + X[:, 1] > 1).astype(int)
    dtrain = dxgb.DaskDMatrix(client, X, y)
    output = dxgb.train(
        client,
        {"verbosity": 1, "tree_method": "hist", "objective": "binary:logistic"},
        dtrain,
        num_boost_round=4,
        evals=[(dtrain, "train")],
    )
    losses = output["history"]["train"]["logloss"]
    assert losses[-1] < losses[0]
    prediction = dxgb.predict(client, output, dtrain).compute()
    assert ((prediction > 0.5) == y.compute()).mean() > 0.8
    classifier = dxgb.DaskXGBClassifier(n_estimators=4, tree_method="hist")
    classifier.client = client
    classifier.fit(X, y, eval_set=[(X, y)], verbose=False)
    assert classifier.predict(X).compute().shape == (1000,)
    client.close()
    cluster.close()
    print("done")
