#!/bin/sh
# Rehearses ../sweep_ray.py: a Ray cluster of a head, which does no work, and two workers of one core on this
# machine; four shards, of which the second is killed in the middle. Ray runs it again by itself.
#
#   docs/cluster/rehearse/ray.sh [PROGRAM [OUT]]
#
# Needs: Python 3 with PyPI's `ray` first on the PATH (`python3 -m venv V && V/bin/pip install ray`, then
# PATH="$PWD/V/bin:$PATH"). Ray's own files go to OUT too, so OUT must have a short path: its sockets lie
# there. Everything ends with the script. Port 9017 has to be free.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

# The cluster's token, which Ray would look for in the home folder.
(umask 077 && od -A n -t x1 -N 32 /dev/urandom | tr -d ' \n' >token)
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$out/token"
nodes=""
finish() {
    for pid in $nodes; do kill "$pid" 2>/dev/null || true; done
    for pid in $nodes; do wait "$pid" || true; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a node of the cluster, which stays in the foreground of this script's background.
node() {
    ray start --block --disable-usage-stats "$@" >>nodes.log 2>&1 &
    nodes="$! $nodes"
}
# How many nodes answer.
alive() {
    timeout 30 python3 -c 'import ray
ray.init(logging_level="error", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))' 2>>nodes.log || true
}
# Waits until this many answer.
until_alive() {
    tries=0
    until [ "$(alive)" = "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || {
            echo "error: no $1 nodes answer; see $out/nodes.log" >&2
            exit 1
        }
        sleep 1
    done
}

begin ray.sh "$(ray --version), $(python3 --version): a head and two workers of one core on one machine"
export RAY_ADDRESS=127.0.0.1:9017
node --head --node-ip-address=127.0.0.1 --port=9017 --num-cpus=0 --include-dashboard=false \
    --temp-dir="$out/ray"
until_alive 1
# One after the other: nodes of one machine that start at once take each other's ports.
node --address="$RAY_ADDRESS" --node-ip-address=127.0.0.1 --num-cpus=1
until_alive 2
node --address="$RAY_ADDRESS" --node-ip-address=127.0.0.1 --num-cpus=1
until_alive 3

echo
echo "Two workers"
cp "$ways/sweep_ray.py" .
echo "\$ python3 sweep_ray.py"
python3 sweep_ray.py >tasks.log 2>&1 &
tasks=$!
shards kill sweep/2
wait "$tasks" || {
    echo "error: the tasks failed; see $out/tasks.log" >&2
    exit 1
}
grep -o 'Task shard failed. There are [0-9]* retries remaining' tasks.log
grep -o 'died with <Signals.SIGKILL: 9>' tasks.log
grep '^shard ' tasks.log | tee ended
[ "$(wc -l <ended)" = 4 ]
[ "$(sed 's/.* //' ended | sort -u | wc -l)" = 2 ] # both workers were at work
# Two programs began the second shard: the one that was killed, and one that Ray started.
echo "sweep-2.log: \"$(grep '^done ' sweep-2.log)\""
[ "$(grep -c '^output *sweep/2$' sweep-2.log)" = 2 ]
end
