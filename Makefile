# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
# Only relative paths stand here, so a checkout in a folder with a space in its name works.

VENV := .venv
PY := $(VENV)/bin/python
# Python compiles a module when it is first imported, which most of those installed never are.
INSTALL := $(PY) -m pip --disable-pip-version-check --no-input --quiet install --no-compile
CONSTRAINTS := deploy/constraints.txt
N ?= 10
SEED ?= 1
FIRST ?= 0
# One process more than there are cores; a file's tests stay together, and files start in the order of
# tests/conftest.py. PARALLEL= runs one after the other.
PARALLEL ?= -n auto --dist loadfile --no-loadscope-reorder
# LIGHT=passed: `make test SKIPS=fail` has just passed here, so `make test-all` runs the other tests, and
# again those that the extras may change. SKIPS=fail: a skip fails `make test`, as it does `make test-all`.
LIGHT ?=
SKIPS ?=
SCENES := imagesieve-data/scenes
LABELS ?= $(SCENES)/fresh/labels.csv

.PHONY: help demo serve test test-all test-gpu check format proto proto-check golden \
        bench bench-policy-diff bench-flood bench-queue bench-evidence bench-front-ends bench-overview kills \
        kills-postgres kills-bucket machine machine-postgres \
        power-cuts overload audit-recall kappa-coverage fuzz mutation train-demo probe-curve finetune-demo clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

# --- set-up -----------------------------------------------------------------------------
# A stamp is written only when an installation is complete, so an interrupted one is redone.

$(VENV)/.made: deploy/make-venv.sh
	@sh deploy/make-venv.sh "$(VENV)"
	@touch $@

$(VENV)/.base: $(VENV)/.made pyproject.toml $(CONSTRAINTS)
	@echo "installing the server and its tests ..."
	@$(INSTALL) --upgrade -c $(CONSTRAINTS) "pip>=25.1"
	@$(INSTALL) -c $(CONSTRAINTS) -e ".[cpu]" --group test
	@touch $@

$(VENV)/.check: $(VENV)/.base
	@echo "installing the linters ..."
	@$(INSTALL) -c $(CONSTRAINTS) --group check
	@touch $@

$(VENV)/.mutation: $(VENV)/.base
	@echo "installing mutmut ..."
	@$(INSTALL) -c $(CONSTRAINTS) --group mutation
	@touch $@

$(VENV)/.all: $(VENV)/.base
	@echo "installing torch and what needs it (several GB) ..."
	@$(INSTALL) -c $(CONSTRAINTS) -e ".[cpu,export,evaluate,embeddings,postgres,s3,openvino]" --group test --group all
	@touch $@

# An environment of its own: the two ONNX Runtimes break each other.
.PHONY: has-gpu bench-gpu
has-gpu:
	@test -e /dev/nvidiactl || { echo "no GPU here: nothing to test or measure on one"; exit 1; }

$(VENV)-gpu/.made: deploy/make-venv.sh
	@sh deploy/make-venv.sh "$(VENV)-gpu"
	@touch $@

$(VENV)-gpu/.base: $(VENV)-gpu/.made pyproject.toml $(CONSTRAINTS) | has-gpu
	@echo "installing the server for GPUs, CUDA's libraries and torch (several GB) ..."
	@$(VENV)-gpu/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	@$(VENV)-gpu/bin/python -m pip --quiet install -c $(CONSTRAINTS) -e ".[gpu,export]" --group test
	@touch $@

# Without CUDA's libraries, which are replaced, but with the headers of its runtime.
$(VENV)-dry/.base: deploy/make-venv.sh pyproject.toml $(CONSTRAINTS)
	@sh deploy/make-venv.sh "$(VENV)-dry"
	@$(VENV)-dry/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	@$(VENV)-dry/bin/python -m pip --quiet install -c $(CONSTRAINTS) onnxruntime-gpu -e ".[server]" --group test
	@$(VENV)-dry/bin/python -m pip --quiet install --no-deps --upgrade --target "$(VENV)-dry/headers" \
	    "nvidia-cuda-runtime~=13.0" "nvidia-cuda-crt~=13.0"
	@touch $@

.PHONY: gpu-dry-run
gpu-dry-run: $(VENV)-dry/.base ## The real CUDA provider over a stand-in for CUDA: placement, graphs, threads, copies (needs gcc, no GPU)
	@PYTHONPATH=tests $(VENV)-dry/bin/python tests/long/gpu_dry_run.py \
	    --headers "$(VENV)-dry/headers/nvidia/cu13/include" $(MODELS:%=--model %)

$(VENV)-proto/.made: deploy/make-venv.sh pyproject.toml
	@sh deploy/make-venv.sh "$(VENV)-proto"
	@$(VENV)-proto/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	@$(VENV)-proto/bin/python -m pip --quiet install --group proto
	@touch $@

# --- what a newcomer types ----------------------------------------------------------------

demo: $(VENV)/.base ## Real images through a real server on this machine, shown step by step
	@$(PY) -m imagesieve_server demo

serve: $(VENV)/.base ## The demo server, kept running until Ctrl-C
	@$(PY) -m imagesieve_server serve

test: $(VENV)/.base ## The tests that need nothing but Python
	@$(PY) -m pytest -q $(PARALLEL) $(if $(filter fail,$(SKIPS)),--no-skips)

# --- everything else ------------------------------------------------------------------------

test-all: $(VENV)/.all ## All tests: adds torch, scikit-learn, PostgreSQL, an object store, promtool, chromium, wheels, a C compiler; any unnamed skip is a failure
	@$(PY) -m pytest -q $(PARALLEL) $(if $(filter passed,$(LIGHT)),--heavy,--all)

test-gpu: $(VENV)-gpu/.base ## The tests marked gpu; fails without a GPU
	@$(VENV)-gpu/bin/python -m pytest -q --gpu

check: $(VENV)/.check proto-check ## Format, lint, types, import rules, proto rules
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@PYTHONPATH=client:server $(VENV)/bin/lint-imports --no-cache
	@cd proto && ../$(VENV)/bin/buf lint

format: $(VENV)/.check ## Rewrite the code in the project's format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

proto: $(VENV)-proto/.made ## Generate client/imagesieve/v1 from proto/
	@sh proto/generate.sh $(VENV)-proto/bin/python client

proto-check: $(VENV)-proto/.made ## Fail where the generated code is not what proto/ says
	@sh proto/check.sh $(VENV)-proto/bin/python client

golden: $(VENV)/.base ## Rewrite tests/golden from what the code produces now
	@$(PY) -m pytest -q --update-golden

bench: $(VENV)/.all ## What this machine carries: ViT-B-32 in fp32 and int8, as ratios to limits (12 to 17 minutes)
	@$(PY) tests/benchmarks/cpu_set.py
	@$(PY) tests/benchmarks/decode_transform.py --seconds 2

bench-gpu: $(VENV)-gpu/.base ## The same on a GPU: ViT-B-32 and ViT-L-14 in fp16; fails without one
	@$(VENV)-gpu/bin/python tests/benchmarks/gpu_set.py

.PHONY: bench-peers bench-flips
CANDIDATES ?=
PEER_LIBRARIES := onnxruntime pillow numpy

# LitServe and MLServer need different releases of the same libraries: an environment each.
$(VENV)-litserve/.made $(VENV)-mlserver/.made: $(VENV)-%/.made: deploy/make-venv.sh tests/benchmarks/peers/constraints-%.txt
	@sh deploy/make-venv.sh "$(@D)"
	@$(@D)/bin/python -m pip --disable-pip-version-check --no-input --quiet install \
	    -c tests/benchmarks/peers/constraints-$*.txt $* $(PEER_LIBRARIES)
	@touch $@

bench-peers: $(VENV)/.all $(VENV)-litserve/.made $(VENV)-mlserver/.made ## Ours against LitServe and MLServer, tuned with our graphs and as documented with their users', in one run (16 minutes)
	@$(PY) tests/benchmarks/peers_rates.py --rounds 4 --seconds 3 --litserve $(VENV)-litserve/bin/python \
	    --mlserver $(VENV)-mlserver/bin/python --json imagesieve-data/bench/reports/peers.json

bench-flips: $(VENV)/.base ## Verdicts of N scenes that change by scaled decoding and in other precisions (LABELS=, CANDIDATES=bundles)
	@$(PY) tests/benchmarks/flips.py --labels "$(LABELS)" --n $(N) --seed $(SEED) $(CANDIDATES:%=--candidate %)

# A small ViT: trained, exported, its thresholds chosen on other scenes than those it is measured on.
VIT := imagesieve-data/bench/small-vit
VIT_STEPS ?= 310

$(VIT)/train.json: | $(VENV)/.all
	@PYTHONPATH=tests $(PY) -m benchmarks.small_vit.train --steps $(VIT_STEPS) --seed 1 --resume \
	    --cache imagesieve-data/emoji --out $(VIT)

$(VIT)/fp32 $(VIT)/fp16 $(VIT)/int8: $(VIT)/%: | $(VIT)/train.json
	@$(PY) -m imagesieve_server model export --arch $(VIT)/checkpoint --pretrained $(VIT)/checkpoint \
	    --precision $* --out $@

$(VIT)/policy.yaml: | $(VIT)/fp32 $(SCENES)/fit/labels.csv
	@cp server/imagesieve_server/demo_data/policies/demo.yaml $@.part
	@$(PY) -m imagesieve_server calibrate --policy $@.part --model $(VIT)/fp32 --no-cache \
	    --labels $(SCENES)/fit/labels.csv --images $(SCENES)/fit --max-fpr 0.01 --write
	@mv $@.part $@

$(VIT)/policy.npz: $(VIT)/policy.yaml | $(VIT)/fp32
	@$(PY) -m imagesieve_server policy compile $< --model $(VIT)/fp32 --out $@

.PHONY: bench-flips-vit
bench-flips-vit: $(VIT)/policy.npz $(SCENES)/fresh/labels.csv | $(VIT)/fp16 $(VIT)/int8 ## The same of a small ViT, which is trained first (VIT_STEPS=; half an hour on two cores)
	@$(PY) tests/benchmarks/flips.py --labels $(SCENES)/fresh/labels.csv --n $(N) --seed $(SEED) \
	    --model $(VIT)/fp32 --policy $(VIT)/policy.npz --candidate $(VIT)/fp16 --candidate $(VIT)/int8

.PHONY: bench-long
bench-long: $(VENV)/.base ## Growth of a server's memory over N mixed requests (100000 for the aim)
	@$(PY) -m imagesieve_server bench --only growth --requests $(N)

.PHONY: bench-pipeline
bench-pipeline: $(VENV)/.base ## Processor time an image of the pipeline alone, decoder, encoder and gRPC left out
	@$(PY) tests/benchmarks/pipeline_cost.py

bench-policy-diff: $(VENV)/.all ## policy diff over N views: seconds, memory, a plain numpy program beside it
	@PYTHONPATH=tests $(PY) tests/benchmarks/policy_diff.py --n $(N) --seed $(SEED)

bench-overview: $(VENV)/.all ## What the leads' overview costs the store with N decided items
	@$(PY) tests/benchmarks/overview_reads.py --n $(N) --seed $(SEED)

bench-flood: $(VENV)/.base ## N flags of three crowds on SQLite, with and without grouping look-alikes
	@$(PY) tests/benchmarks/flood_rates.py --n $(N) --seed $(SEED)

bench-queue: $(VENV)/.all ## Enqueues and claims a second on SQLite and PostgreSQL, and in a long queue
	@$(PY) tests/benchmarks/queue_rates.py

bench-front-ends: $(VENV)/.base ## Processor time of N views through an encoder in another process and in this one
	@$(PY) tests/benchmarks/remote_encoder.py --n $(N)

bench-evidence: $(VENV)/.all ## Putting and getting N pictures in a folder and in a bucket on this machine
	@$(PY) tests/benchmarks/evidence_rates.py --n $(N) --seed $(SEED)

machine: $(VENV)/.base ## N random steps on the review queue, SQLite and memory in lockstep
	@$(PY) tests/long/machine.py --n $(N) --seed $(SEED)

machine-postgres: $(VENV)/.all ## The same with PostgreSQL as a third
	@$(PY) tests/long/machine.py --n $(N) --seed $(SEED) --postgres

kills: $(VENV)/.base ## N kills of a loaded server; every acknowledged flag must be in the queue
	@$(PY) tests/long/kill9.py --n $(N) --seed $(SEED)
	@$(PY) tests/long/kill_server.py --n $(N) --seed $(SEED)

kills-postgres: $(VENV)/.all ## N kills of two loaded servers on PostgreSQL, and N of the database
	@$(PY) tests/long/kill_postgres.py --servers $(N) --databases $(N) --seed $(SEED)

.PHONY: kills-webhooks bench-webhooks
kills-webhooks: $(VENV)/.base ## N kills of a server that tells a bad receiver of decisions; all arrive, in order per item
	@PYTHONPATH=tests $(PY) tests/long/kill_webhooks.py --n $(N) --seed $(SEED)

bench-webhooks: $(VENV)/.base ## Deliveries a second to a receiver on this machine, N decisions
	@PYTHONPATH=tests $(PY) tests/benchmarks/webhook_rate.py --n $(N)

kills-bucket: $(VENV)/.all ## The same with the pictures in a bucket, whose object store is killed as well
	@$(PY) tests/long/kill_postgres.py --bucket --servers $(N) --databases $(N) --seed $(SEED)

overload: $(VENV)/.base ## N callers at once; each gets an answer or a typed reason, none hangs
	@$(PY) tests/long/overload.py --n $(N) --seed $(SEED)

power-cuts: $(VENV)/.base ## N power cuts under the loaded queue, and controls that must lose flags
	@$(PY) tests/long/power_cut.py --n $(N) --seed $(SEED)

audit-recall: $(VENV)/.base ## N servers with audit samples: recall by decisions against labels (LABELS=labels.csv)
	@$(PY) tests/long/audit_recall.py --n $(N) --seed $(SEED) --labels "$(LABELS)"

kappa-coverage: $(VENV)/.base ## N simulated tables a cell: how often intervals of kappa hold the truth
	@$(PY) tests/long/kappa_coverage.py --n $(N) --seed $(SEED)

fuzz: $(VENV)/.base ## N odd, broken and hostile images to a real server (2000 or more; FIRST= resumes)
	@PYTHONPATH=tests $(PY) tests/long/fuzz_images.py --n $(N) --seed $(SEED) --first $(FIRST)

mutation: $(VENV)/.mutation ## Small changes to the core that no test of it notices (half an hour or less)
	@$(PY) tests/long/mutation.py

train-demo: $(VENV)/.all ## Train the demo model from the two emoji packages (up to an hour on one core)
	@$(PY) -m imagesieve_server model train-demo --seed $(SEED) \
	    --cache imagesieve-data/emoji --out imagesieve-data/demo-model

$(SCENES)/fit/labels.csv: | $(VENV)/.all
	@$(PY) -m imagesieve_server model demo-scenes --count 10000 --seed 1 \
	    --cache imagesieve-data/emoji --out $(@D)

$(SCENES)/fresh/labels.csv: | $(VENV)/.all
	@$(PY) -m imagesieve_server model demo-scenes --count 10000 --seed 2 \
	    --cache imagesieve-data/emoji --out $(@D)

.PHONY: promise
promise: $(VENV)/.all $(SCENES)/fit/labels.csv $(SCENES)/fresh/labels.csv ## N trials per goal: do chosen thresholds hold on scenes not drawn?
	@$(PY) tests/benchmarks/threshold_promise.py --n $(N) --seed $(SEED) \
	    --scenes $(SCENES) --cache imagesieve-data/embeddings

probe-curve: $(VENV)/.all $(SCENES)/fit/labels.csv $(SCENES)/fresh/labels.csv ## What a probe gains over prompts and how many labels it needs, N draws a size
	@$(PY) tests/long/probe_curve.py --n $(N) --seed $(SEED) \
	    --fit $(SCENES)/fit --fresh $(SCENES)/fresh --cache imagesieve-data/embeddings

ONE_ARTIST := imagesieve-data/demo-model-google

$(ONE_ARTIST)/train.json: | $(VENV)/.all
	@$(PY) -m imagesieve_server model train-demo --artists google --steps 1000 --seed 1 \
	    --resume --cache imagesieve-data/emoji --out $(@D)

finetune-demo: $(VENV)/.all $(ONE_ARTIST)/train.json ## Teach the demo model of one artist the other's art: what is gained, what is kept
	@$(PY) tests/long/finetune_demo.py --n $(N) --seed $(SEED) \
	    --cache imagesieve-data/emoji --checkpoint $(ONE_ARTIST)/checkpoint

clean: ## Remove environments and caches
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@sh deploy/remove-venv.sh "$(VENV)" "$(VENV)-gpu" "$(VENV)-dry" "$(VENV)-proto" "$(VENV)-litserve" "$(VENV)-mlserver"
