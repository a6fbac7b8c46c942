# setup, test and bench need nothing but Python 3.11 or later, pip, gcc and Debian's package manager.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NGINX := $(VENV)/nginx/usr/sbin/nginx

.PHONY: setup demo test lint types golden docs man bench soak clean

setup: $(VENV)/.ready
	@{ command -v nft && command -v ip; } >/dev/null || { apt-get update -q && apt-get install -qy nftables iproute2; }

# Debian's python3 makes no virtual environments until python3-venv is there.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# Reads the PROXY protocol in a test. Only unpacked: what is installed would run as a service.
$(NGINX): | $(VENV)/.ready
	mkdir -p $(VENV)/nginx
	cd $(VENV)/nginx && { apt-get download -q nginx || { apt-get update -q && apt-get download -q nginx; }; }
	cd $(VENV)/nginx && dpkg-deb -x nginx_*.deb . && rm nginx_*.deb

# Its hosts are network namespaces: nothing of this machine's network is touched.
demo: setup
	@demo/demo.sh

test: lint types $(NGINX)
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

# What is written anew is to be read before it is committed.
golden: setup
	$(BIN)/python -m tests.golden.rulesets

docs: setup
	$(BIN)/python -m tests.netns.ruleset_page

man: setup
	mkdir -p build/man
	$(BIN)/argparse-manpage --module hostports.cli.parser --function build_parser \
		--project-name hostports --author "The hostports authors" --manual-title hostports \
		--description "publish ports of anything that has an IP address" --output build/man/hostports.1

bench: setup
	@command -v iptables >/dev/null || { apt-get update -q && apt-get install -qy iptables; }
	$(BIN)/python -m bench.plan
	$(BIN)/python -m bench.firewall
	$(BIN)/python -m bench.cli
	$(BIN)/python -m bench.publish
	$(BIN)/python -m bench.relay

# What takes long: hundreds of connections that do what they like, for half a minute.
soak: setup
	$(BIN)/python -m tests.relay.stress --connections 500 --seconds 30

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .pytest_tmp .ruff_cache .hypothesis build src/*.egg-info
