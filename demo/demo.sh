#!/usr/bin/env bash
# Publishes a web server of a network namespace, fetches it from everywhere, and cleans up.
# The host is a network namespace, too: nothing of the machine's own network is touched.
set -euo pipefail

hostports=$(readlink -f .venv/bin/hostports)
python=$(readlink -f .venv/bin)/python
folder=$(mktemp -d)
host=demo-host-$$ remote=demo-remote-$$ web=demo-web-$$
started=()

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { # a command of hostports, on the host
    printf '  # hostports %s\n' "$*"
    ip netns exec "$host" "$hostports" "$@" | sed 's/^/    /'
}

clean_up() {
    say "Cleaning up"
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    for name in "$host" "$remote" "$web"; do ip netns delete "$name" 2>/dev/null || true; done
    rm -rf "$folder"
    if ip netns list | grep -e "-$$"; then exit 1; else echo "  nothing is left"; fi
}
trap clean_up EXIT

fetch() { # from which namespace, which URL
    local where=${1#demo-}
    printf '  %-28s from the %-7s ' "$2" "${where%-*}:"
    ip netns exec "$1" "$python" - "$2" <<'PYTHON'
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode().strip())
PYTHON
}

say "A host, another host beside it, and a namespace that shall serve a page"
for name in "$host" "$remote" "$web"; do
    ip netns add "$name"
    ip -n "$name" link set lo up
done
ip -n "$host" link add uplink type veth peer name eth0 netns "$remote"
ip -n "$host" address add 192.0.2.1/24 dev uplink
ip -n "$host" address add fd00:feed::1/64 dev uplink nodad
ip -n "$host" link set uplink up
ip -n "$remote" address add 192.0.2.2/24 dev eth0
ip -n "$remote" address add fd00:feed::2/64 dev eth0 nodad
ip -n "$remote" link set eth0 up
mkdir "$folder/page"
echo "Hello from a network namespace" > "$folder/page/index.html"
ip netns exec "$web" "$python" -m http.server --bind :: --directory "$folder/page" 80 \
    >/dev/null 2>&1 &
started+=($!)
ip netns list | grep -e "-$$" | sed 's/^/  /'

say "The daemon"
mkfifo "$folder/ready"
export HOSTPORTS_SOCKET=$folder/api.sock
ip netns exec "$host" "$hostports" daemon --state "$folder/state" --run "$folder" --down-on-exit \
    >"$folder/ready" 2>"$folder/log" &
started+=($!)
read -r _ <"$folder/ready" || { cat "$folder/log"; exit 1; }
echo "  it serves at $HOSTPORTS_SOCKET"

say "A bridge network, the namespace as an endpoint on it, and its port 80 as port 8080 of the host"
run network create demo
run endpoint add demo web --netns "$web"
run publish web 8080:80
run ls

say "The page, through the published port"
fetch "$host" http://127.0.0.1:8080/
fetch "$host" "http://[::1]:8080/"
fetch "$remote" http://192.0.2.1:8080/
fetch "$remote" "http://[fd00:feed::1]:8080/"

say "And no longer"
run unpublish web 8080:80
if fetch "$remote" http://192.0.2.1:8080/ 2>/dev/null; then exit 1; else echo "refused"; fi
