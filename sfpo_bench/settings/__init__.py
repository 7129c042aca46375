"""Settings: schemas, composition by Hydra, and checks before anything is loaded; without torch."""
