#!/bin/sh
# Rehearses ../sweep-parallel.sh: four shards, two at a time, of which the second is killed in the middle;
# then the same line again.
#
#   docs/cluster/rehearse/parallel.sh [PROGRAM [OUT]]
#
# Needs: GNU parallel (Debian's and Ubuntu's package `parallel`) and Python 3. Nothing outside OUT is written.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
export PARALLEL_HOME="$out/parallel"
mkdir -p "$PARALLEL_HOME"

# What became of the shards that were run, in the order in which they ended.
ends() {
    awk 'NR > 1 {print "shard " $1 ": exit code " $7 ", signal " $8}' sweep.joblog
}

begin parallel.sh "$(parallel --version | head -n 1)"
echo
echo "Two at a time"
cp "$ways/sweep-parallel.sh" .
echo "\$ ./sweep-parallel.sh"
./sweep-parallel.sh >parallel.log 2>&1 &
first=$!
shards kill sweep/2
if wait "$first"; then
    echo "error: parallel has not noticed that a shard was killed" >&2
    exit 1
fi
ends | tee ends
# One shard was killed, and the others are done: the script would prove nothing if it were otherwise.
# A shell between parallel and the program says 128 + 9 for the signal 9.
grep -qE '^shard 2: exit code (137, signal 0|0, signal 9)$' ends
[ "$(grep -c ': exit code 0, signal 0$' ends)" = 3 ]
run gpu-makemore sweep report sweep/* >report.txt
tail -n 2 report.txt
grep -q '^missing: ' report.txt
run ./sweep-parallel.sh >again.log 2>&1
# Its first line is the command. The joblog has one line more: no other shard was run again.
head -n 1 again.log
ends | tail -n +5 | tee ends
[ "$(cat ends)" = "shard 2: exit code 0, signal 0" ]
end
