# Everything a person or CI does here. `make` lists it.
PYTHON ?= python3
BIN := .venv/bin
ENGINES := dockerd=docker.io iptables=iptables podman=podman runc=runc docker-registry=docker-registry busybox=busybox-static \
	strip=binutils wget=wget openssl=openssl
STORAGES := vsftpd=vsftpd nginx=nginx-light
# Two thirds of a test's time is waiting for others, whatever the machine. A file's tests stay together: they share servers.
SIDE_BY_SIDE := -n 4 --dist loadfile

.PHONY: help demo test test-full test-faults check bench contracts lock clean

help:
	@echo "make demo       run the main job on this machine (ONCE=1: end after it; STORE=mongodb; PORT=8080)"
	@echo "make test       all tests that belong to every change"
	@echo "make test-full  those, and what takes longer"
	@echo "make test-faults the fault suite alone, with what takes longer"
	@echo "make check      format, lint, types, imports"
	@echo "make bench      measure; writes bench/RESULTS.md"
	@echo "make contracts  write events/ and projections/ anew from the code"
	@echo "make lock       resolve the dependencies anew"
	@echo "make clean      remove what the above made"

ifneq ($(filter-out mongodb sqlite,$(STORE)),)
$(error STORE is $(STORE), it must be sqlite or mongodb)
endif

demo: .venv/ready .venv-pulsar/ready
	@.ci/packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server bwrap=bubblewrap
	@$(BIN)/tespes demo $(if $(ONCE),--once) $(if $(filter mongodb,$(STORE)),--mongodb $(BIN)/secantusd-py) $(if $(PORT),--port $(PORT))

test: .venv/ready .venv-pulsar/ready
	@.ci/packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server bwrap=bubblewrap $(ENGINES) $(STORAGES)
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not slow"

test-full: .venv/ready .venv-pulsar/ready .venv-snakemake/ready .venv-toil/ready .venv-cwl-tes/ready .venv-rocrate/ready
	@.ci/packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server bwrap=bubblewrap $(ENGINES) $(STORAGES) chromium=chromium curl=curl
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not slow"
	$(BIN)/python -m pytest -q -m slow

test-faults: .venv/ready .venv-pulsar/ready
	@.ci/packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server
	$(BIN)/python -m pytest -q tests/faults

check: .venv/ready
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready .venv-pulsar/ready
	@.ci/packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server bwrap=bubblewrap wrk=wrk curl=curl openssl=openssl $(STORAGES)
	$(BIN)/python bench/run.py

contracts: .venv/ready
	$(BIN)/tespes contracts write

lock: .venv/ready
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q -U pyproject.toml --group test --group lint --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml -c requirements.lock --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o docker/tespes/requirements.lock
	$(BIN)/uv pip compile -q -U docker/tespes/build.in --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o docker/tespes/build.lock
	$(BIN)/uv pip compile -q -U docker/pulsar/requirements.in --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o docker/pulsar/requirements.lock
	$(BIN)/uv pip compile -q -U tests/clients/snakemake.in --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o tests/clients/snakemake.lock
	$(BIN)/uv pip compile -q -U tests/clients/toil.in --override tests/clients/toil.override --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o tests/clients/toil.lock
	$(BIN)/uv pip compile -q -U tests/clients/cwl-tes-build.in --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o tests/clients/cwl-tes-build.lock
	$(BIN)/uv pip compile -q -U tests/clients/cwl-tes.in --build-constraint tests/clients/cwl-tes-build.in --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header -o tests/clients/cwl-tes.lock
	$(BIN)/uv pip compile -q -U tests/clients/rocrate.in --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header -o tests/clients/rocrate.lock

clean:
	rm -rf .venv .venv-pulsar .venv-snakemake .venv-toil .venv-cwl-tes .venv-rocrate .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: requirements.lock pyproject.toml
	@.ci/environment $(PYTHON) .venv requirements.lock
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

.venv-pulsar/ready: docker/pulsar/requirements.lock
	@.ci/environment $(PYTHON) .venv-pulsar docker/pulsar/requirements.lock
	@touch $@

.venv-snakemake/ready: tests/clients/snakemake.lock
	@.ci/environment $(PYTHON) .venv-snakemake tests/clients/snakemake.lock
	@touch $@

# Each of its lock file, which is whole: uv was told there (make lock) what their packages' own words would not let pip do.
.venv-toil/ready: tests/clients/toil.lock
	@.ci/environment $(PYTHON) .venv-toil tests/clients/toil.lock --no-deps
	@touch $@

.venv-cwl-tes/ready: tests/clients/cwl-tes-build.lock tests/clients/cwl-tes.lock
	@.ci/environment $(PYTHON) .venv-cwl-tes tests/clients/cwl-tes-build.lock
	@.ci/environment $(PYTHON) .venv-cwl-tes tests/clients/cwl-tes.lock --no-deps --no-build-isolation
	@touch $@

.venv-rocrate/ready: tests/clients/rocrate.lock
	@.ci/environment $(PYTHON) .venv-rocrate tests/clients/rocrate.lock
	@touch $@
