"""The MLflow run of a training: kept in the folder of the training, copied to a server."""
