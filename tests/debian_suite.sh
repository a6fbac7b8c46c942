#!/bin/sh
# usage: debian_suite.sh SUITE FOLDER PACKAGE...
# Unpacks packages of another Debian than this machine's in a folder, and nothing that they need.
# They come from where this machine has its own packages, by an apt that is told nothing but that.
set -eu
suite=$1
mkdir -p "$2"
folder=$(realpath "$2")
shift 2

mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/debs"
where=$(apt-cache policy base-files | awk '$2 ~ /^https?:/ { print $2; exit }')
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $where $suite main" > "$folder/apt/sources.list"
: > "$folder/apt/status"
cd "$folder/debs"
apt_of_ours() {
    apt-get -q -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt" "$@"
}
apt_of_ours update
apt_of_ours download "$@"
for each in *.deb; do
    dpkg-deb -x "$each" "$folder"
done
rm -r "$folder/debs" "$folder/apt"
