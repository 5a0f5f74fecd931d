"""MLflow: python train.py --dataset digits --import docs/examples/track_mlflow.py"""

from kvae.training.callbacks import CALLBACKS


@CALLBACKS.append
def tracker(config):
    """Start a run with all options, and send the figures of each epoch."""
    import mlflow

    mlflow.set_experiment("kvae")
    mlflow.start_run(run_name=config.name)
    mlflow.log_params(config.to_dict())
    return mlflow.keras.MlflowCallback()
