# setup, test and bench need nothing but Python 3.11 or later, pip, gcc and Debian's package manager.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NGINX := $(VENV)/nginx/usr/sbin/nginx

.PHONY: setup test lint types golden docs bench clean

setup: $(VENV)/.ready $(NGINX)
	@command -v nft >/dev/null || { apt-get update -q && apt-get install -qy nftables; }

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

test: lint types
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

bench: setup
	@command -v iptables >/dev/null || { apt-get update -q && apt-get install -qy iptables; }
	$(BIN)/python -m bench.plan
	$(BIN)/python -m bench.firewall

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .pytest_tmp .ruff_cache .hypothesis build src/*.egg-info
