#!/bin/sh -eu
# usage: debian.sh FOLDER PACKAGE...
# Unpacks Debian packages, and those that they need and this machine doesn't have, in a folder.
# Nothing is installed: what is may run as a service.
mkdir -p "$1"
cd "$1"
shift

fetch() {
    needed=$(apt-get install -s --no-install-recommends "$@" | awk '/^Inst/ { print $2 }') &&
        apt-get download -q "$@" $needed
}

fetch "$@" || { apt-get update -q && fetch "$@"; }
for package in *.deb; do
    dpkg-deb -x "$package" .
done
rm ./*.deb
