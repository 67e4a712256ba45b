# make setup [GPU=1]   environment in .venv, messages built, packages installed; a second run takes seconds
# make test            set-up, ruff, mypy, pytest        (pytest's arguments: ARGS="-k cadence")
# make models          the shipped bundles anew, all or some  (ARGS="planar:velocity:1 ur5e:effort")
# make demo            set-up and the whole loop in simulation   (ARGS="--out my_run")
.PHONY: setup test demo models

ARGS ?=
GPU ?=
TORCH_INDEX ?=

setup:
	@TORCH_INDEX=$(TORCH_INDEX) .ci/setup.sh $(if $(GPU),gpu,cpu)

test: setup
	@.ci/check.sh $(ARGS)

demo: setup
	@.venv/bin/mbrl-control demo $(ARGS)

models: setup
	@.ci/make_models.sh $(ARGS)
