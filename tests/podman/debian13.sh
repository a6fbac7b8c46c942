#!/bin/sh
# Unpacks Podman and netavark of Debian 13 into a folder: Debian 12's netavark knows no plugins.
# They come from where this machine has its own packages, by an apt that is told nothing but that.
set -eu
folder=$1
packages="podman netavark crun conmon golang-github-containers-common libc6 libgcc-s1 libgpgme11t64
libassuan9 libgpg-error0 libsqlite3-0 libsubid5 libseccomp2 libyajl2 libsystemd0 libcap2 libsemanage2
libselinux1 libpcre2-8-0 libaudit1 libsepol2 libbz2-1.0 libglib2.0-0t64 libatomic1 libffi8 libmount1
libblkid1"

mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/debs"
where=$(apt-cache policy base-files | awk '$2 ~ /^https?:/ { print $2; exit }')
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $where trixie main" > "$folder/apt/sources.list"
: > "$folder/apt/status"
cd "$folder/debs"
apt_of_ours() {
    apt-get -q -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt" "$@"
}
apt_of_ours update
# shellcheck disable=SC2086 # a list of words
apt_of_ours download $packages
for each in *.deb; do
    dpkg-deb -x "$each" "$folder"
done
rm -r "$folder/debs" "$folder/apt"
