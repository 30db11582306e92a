# make demo   the whole chain on made data: make, train, segment, compare, look  (VIEW=0 stops before the viewer)
# make test   everything that CI checks: format, lint, types, import contracts, tests
# make bench  most of what benchmarks/RESULTS.md is made of; hours. DATA names the folder of the data sets (without it only
#             what needs none), NNUNET the Python of an environment with nnunetv2 (without it medseg is measured alone)
# make docs      the documentation as a site, out/site/index.html
# make package   wheel and sdist in dist/, and the wheel tried in an empty environment: it segments a made scan
# make audit     SBOM and licences of all that the wheel requires, into docs/; known weaknesses, where PyPI answers
# make coverage  the tests' coverage by lines and branches, out/coverage/index.html
# make mutants   how many small mistakes in the most important code the tests notice
# All make their own virtual environment first. PYTHON names the interpreter, 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VIEW ?= 1
DEMO ?= demo
MINUTES ?= 6
BENCH ?= out/bench

.PHONY: demo test check tests browser archive bench bench-data docs package audit coverage mutants clean

demo: $(VENV)/.installed
	$(BIN)/medseg demo $(DEMO) --minutes $(MINUTES) $(if $(filter 0,$(VIEW)),--no-view,--view)

test: check tests

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One process a core, at most four; each of one thread, so that they do not stand in each other's way.
tests: $(VENV)/.installed-dev browser archive
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

# Chromium for the tests of the viewer; without it, or without the right to install it, they are skipped and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	  || echo "chromium is not installed: the browser tests will be skipped"

# Orthanc, an archive, and dcmtk, another sender, for the tests of the network; likewise.
archive:
	@{ command -v Orthanc && test -x /usr/bin/storescu && ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so; } >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	    apt-get install -y -qq orthanc orthanc-dicomweb dcmtk >/dev/null; } \
	  || echo "Orthanc and dcmtk are not installed: the tests of the network will be skipped"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "medseg needs Python 3.11 or newer; $$($(PYTHON) --version) found. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[viewer]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[viewer,dev]'
	touch $@

$(VENV)/.installed-audit: $(VENV)/.installed-dev
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[audit]'
	touch $@

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/training/memory.py
	$(BIN)/python benchmarks/training/kill_training.py
	$(BIN)/python benchmarks/training/forecast.py $(if $(DATA),--root $(DATA))
	$(BIN)/python benchmarks/inference/inference_memory.py --output docs/images/inference_memory.png
	$(BIN)/python benchmarks/inference/batch.py
	$(BIN)/python benchmarks/inference/batch_chaos.py --light
	$(BIN)/python benchmarks/inference/batch_chaos.py --runs 10
	$(BIN)/python benchmarks/vessels/vessels.py measure $(BENCH)/vessels.jsonl --first 10000 --studies 32
	$(BIN)/python benchmarks/vessels/vessels.py measure $(BENCH)/vessels.jsonl --first 10500 --studies 12 --disease none
	$(BIN)/python benchmarks/vessels/vessels.py tables $(BENCH)/vessels.jsonl
	$(BIN)/python benchmarks/product/service_faults.py --minutes 30 --picture docs/images/service_memory.png
	$(BIN)/python benchmarks/product/service_throughput.py
	$(BIN)/python benchmarks/product/viewer.py
	$(BIN)/python benchmarks/product/whole_chain.py --folder $(BENCH)/chain
	$(if $(DATA),$(MAKE) bench-data)

bench-data: $(VENV)/.installed-dev
	for set in msd_task04_hippocampus ibsi_sts_sarcoma_pet; do \
	  $(BIN)/python benchmarks/training/ladder.py data_manifests/$$set --root $(DATA) --minutes 20 --folder $(BENCH)/$$set && \
	  $(BIN)/python benchmarks/training/classical.py data_manifests/$$set --root $(DATA) --run $(BENCH)/$$set/unet3d || exit 1; done
	$(BIN)/python benchmarks/training/ladder_picture.py data_manifests/msd_task04_hippocampus --root $(DATA) --runs $(BENCH)/msd_task04_hippocampus --picture docs/images/ladder.png
	$(BIN)/python benchmarks/training/checkerboard.py data_manifests/msd_task04_hippocampus --root $(DATA) --picture docs/images/checkerboard.png
	$(BIN)/python benchmarks/training/crf_boundaries.py --root $(DATA) --picture docs/images/crf_boundaries.png
	$(BIN)/python benchmarks/lesions/sarcoma_threshold.py --root $(DATA)
	$(BIN)/python benchmarks/vessels/vessels_real.py $(DATA)
	$(BIN)/python benchmarks/learning/active_learning.py $(DATA) --folder $(BENCH)/reading --picture docs/images/active_learning.png
	$(BIN)/python benchmarks/learning/promotion_gate.py $(DATA) --folder $(BENCH)/reading
	$(BIN)/python benchmarks/learning/quality_control.py $(DATA)
	$(BIN)/python benchmarks/learning/kill_retraining.py $(DATA)
	$(if $(NNUNET),$(BIN)/python benchmarks/training/nnunet.py --nnunet $(NNUNET) --root $(DATA) --folder $(BENCH)/nnunet)
	$(if $(NNUNET),$(BIN)/python benchmarks/inference/nnunet_side_by_side.py --root $(DATA) --nnunet-python $(NNUNET))

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo out/site/index.html

package: $(VENV)/.installed-audit
	rm -rf dist out/package
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv out/package/venv
	out/package/venv/bin/pip install --disable-pip-version-check -q -c constraints.txt dist/*.whl
	cd out/package && venv/bin/python ../../tests/package/try_wheel.py

audit: $(VENV)/.installed-audit
	$(BIN)/python docs/making/list_dependencies.py
	$(BIN)/pip-audit --progress-spinner off --skip-editable || echo "see above; where PyPI did not answer, nothing was checked"

coverage: $(VENV)/.installed-audit
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile \
	  --cov --cov-report=term:skip-covered --cov-report=html:out/coverage

mutants: $(VENV)/.installed-audit
	$(BIN)/python benchmarks/product/mutants.py

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
