# setup, test and bench need nothing but Python 3.11 or later, pip, gcc and Debian's package manager.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs of Debian's that tests use without installing them.
UNPACKED := $(patsubst %,$(VENV)/%/.ready,nginx guests firewalld ufw podman podman13 rootlesskit)

# What the relay's compiled modules are made from, and what they were compiled to know.
COMPILED := setup.py $(wildcard $(addprefix src/hostports/,model/*.py core/relay/*.py relay/*.py relay/*.c))

.PHONY: setup iptables browser demo test lint types golden docs man bench soak clean

setup: $(VENV)/.ready $(VENV)/.compiled
	@$(BIN)/python -c 'from hostports.relay.compiled import found; print("The relay", "is compiled." if found() else "runs interpreted.")'
	@{ command -v nft && command -v ip; } >/dev/null || { apt-get update -q && apt-get install -qy nftables iproute2; }

# Its tests want both kinds of it.
iptables:
	@command -v iptables >/dev/null || { apt-get update -q && apt-get install -qy iptables; }

# Debian's python3 makes no virtual environments until python3-venv is there.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.compiled

# Where that can't be, as without gcc, it says why, and the relay runs interpreted.
$(VENV)/.compiled: $(COMPILED) | $(VENV)/.ready
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

# Reads the PROXY protocol in a test.
$(VENV)/nginx/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/nginx nginx
	touch $@

# A virtual machine's parts, and systemd-nspawn.
$(VENV)/guests/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/guests busybox-static systemd-container \
		$$(test $$(uname -m) != x86_64 || echo qemu-system-x86 linux-image-cloud-amd64)
	touch $@

# firewalld, on a bus of the test's own.
$(VENV)/firewalld/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/firewalld firewalld python3-firewall python3-nftables python3-cap-ng \
		python3-dbus python3-gi gir1.2-glib-2.0 libgirepository-1.0-1 dbus-daemon
	touch $@

# Podman and CNI's plugins. A test's mount namespace has them in /usr.
$(VENV)/podman/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/podman podman crun containernetworking-plugins iptables busybox-static
	cd $(VENV)/podman/usr/sbin && ln -sf iptables-nft iptables && ln -sf ip6tables-nft ip6tables
	touch $@

# A Podman whose netavark knows plugins, as Debian 12's doesn't; without it a test is skipped, and says so.
$(VENV)/podman13/.ready: | $(VENV)/.ready
	-tests/debian_suite.sh trixie $(VENV)/podman13 podman netavark crun conmon \
		golang-github-containers-common libc6 libgcc-s1 libgpgme11t64 libassuan9 libgpg-error0 \
		libsqlite3-0 libsubid5 libseccomp2 libyajl2 libsystemd0 libcap2 libsemanage2 libselinux1 \
		libpcre2-8-0 libaudit1 libsepol2 libbz2-1.0 libglib2.0-0t64 libatomic1 libffi8 libmount1 \
		libblkid1 && touch $@

# Shows the web page in a test.
browser:
	@command -v chromium-headless-shell >/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends chromium-headless-shell; }

# RootlessKit, and what it starts.
$(VENV)/rootlesskit/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/rootlesskit rootlesskit slirp4netns uidmap
	touch $@

# ufw, with a configuration of the test's own.
$(VENV)/ufw/.ready: | $(VENV)/.ready
	tests/debian.sh $(VENV)/ufw ufw
	touch $@

# Its hosts are network namespaces: nothing of this machine's network is touched.
demo: setup
	@demo/demo.sh

test: setup lint types iptables browser $(UNPACKED)
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

# What is written anew is to be read before it is committed.
golden: setup
	$(BIN)/python -m tests.golden.rulesets

docs: setup browser
	$(BIN)/python -m tests.netns.ruleset_page
	$(BIN)/python -m tests.e2e.picture

man: setup
	mkdir -p build/man
	$(BIN)/argparse-manpage --module hostports.cli.parser --function build_parser \
		--project-name hostports --author "The hostports authors" --manual-title hostports \
		--description "publish ports of anything that has an IP address" --output build/man/hostports.1

bench: setup iptables
	$(BIN)/python -m bench.plan
	$(BIN)/python -m bench.firewall
	$(BIN)/python -m bench.conntrack
	$(BIN)/python -m bench.cli
	$(BIN)/python -m bench.publish
	$(BIN)/python -m bench.relay
	$(BIN)/python -m bench.heal
	$(BIN)/python -m bench.peers

# A Debian whose first process is systemd, with hostports: for the units.
$(VENV)/debian/.ready: $(VENV)/guests/.ready
	tests/debian.sh $(VENV)/debootstrap debootstrap
	DEBOOTSTRAP_DIR=$(CURDIR)/$(VENV)/debootstrap/usr/share/debootstrap \
		$(VENV)/debootstrap/usr/sbin/debootstrap --variant=minbase \
		--include=dbus,iproute2,nftables,python3,systemd,systemd-sysv bookworm $(VENV)/debian
	touch $@

# What takes long: connections that do what they like, rules that are flushed again and again while
# somebody tries to get in, firewalld that is reloaded while clients come, kills at hundreds of
# instants, and the units under a systemd of their own.
soak: setup iptables $(VENV)/debian/.ready $(VENV)/firewalld/.ready
	$(BIN)/pip install --quiet --upgrade --target $(VENV)/debian/usr/lib/python3/dist-packages .
	printf '#!/bin/sh\nexec python3 -m hostports "$$@"\n' > $(VENV)/debian/usr/bin/hostports
	chmod 755 $(VENV)/debian/usr/bin/hostports
	$(BIN)/pytest tests/e2e/soak_units.py
	$(BIN)/pytest tests/netns/soak_iptables.py
	$(BIN)/python -m tests.relay.stress --connections 500 --seconds 30
	$(BIN)/python -m tests.e2e.hammer --flushes 50
	$(BIN)/python -m tests.e2e.hammer --flushes 50 --firewall iptables
	$(BIN)/python -m tests.e2e.reload
	$(BIN)/python -m tests.e2e.reload --firewall iptables
	$(BIN)/python -m tests.survival --instants 200
	$(BIN)/python -m tests.survival --instants 70 --connections 0 --firewall iptables
	$(BIN)/python -m tests.survival --instants 70 --connections 0 --no-relay
	$(BIN)/python -m tests.survival --instants 70 --connections 0 --firewall iptables --no-relay

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .pytest_tmp .ruff_cache .hypothesis build src/*.egg-info src/hostports/relay/compiled
