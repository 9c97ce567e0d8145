"""optuna: a study whose storage is on the scheduler, and whose trials run on workers."""

import warnings

import optuna
from dask.distributed import Client, wait
from optuna_integration import DaskStorage


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    trial.set_user_attr("half", x / 2)
    return (x - 2) ** 2


if __name__ == "__main__":
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        storage = DaskStorage()
        study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))
        futures = [client.submit(study.optimize, objective, n_trials=5, pure=False) for _ in range(4)]
        assert wait(futures, timeout=60).done == set(futures)
        client.gather(futures)
        assert len(study.trials) == 20
        assert study.best_value == min(trial.value for trial in study.trials)
        assert study.best_trial.user_attrs["half"] == study.best_params["x"] / 2
        assert len(storage.get_base_storage().get_all_studies()) == 1
    print("done")
