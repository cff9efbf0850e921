#!/bin/sh
# Rehearses ../sweep.sbatch: a Slurm cluster of a controller and two nodes on this machine, four shards, of
# which the second is killed in the middle and submitted again.
#
#   docs/cluster/rehearse/slurm.sh [PROGRAM [OUT]]
#
# Needs: Debian's or Ubuntu's slurm-wlm and munge, Python 3, and root, since slurmd and munged want to be
# started by it. Nothing outside OUT is written, the daemons end with the script, and ports 17000 to 17002
# have to be free.
set -eu
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || {
    echo "error: only root can start slurmd" >&2
    exit 1
}

daemons=""
finish() {
    for pid in $daemons; do kill "$pid" 2>/dev/null || true; done
    for pid in $daemons; do wait "$pid" || true; done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a daemon, which stays in the foreground of this script's background.
daemon() {
    "$@" >>daemons.log 2>&1 &
    daemons="$! $daemons"
}

mkdir -p slurm/state slurm/n1 slurm/n2
chmod 700 slurm
dd if=/dev/urandom of=slurm/munge.key bs=1024 count=1 status=none
chmod 400 slurm/munge.key
# munged refuses a socket below a folder that others may write to, such as /tmp, unless it is forced.
daemon munged --foreground --force --key-file="$out/slurm/munge.key" --socket="$out/slurm/munge.socket" \
    --pid-file="$out/slurm/munged.pid" --seed-file="$out/slurm/munged.seed" --log-file="$out/slurm/munged.log"

export SLURM_CONF="$out/slurm/slurm.conf"
host=$(hostname -s)
cat >"$SLURM_CONF" <<END
ClusterName=rehearsal
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
AuthInfo=socket=$out/slurm/munge.socket
StateSaveLocation=$out/slurm/state
SlurmdSpoolDir=$out/slurm/%n
SlurmctldPidFile=$out/slurm/slurmctld.pid
SlurmdPidFile=$out/slurm/slurmd-%n.pid
SlurmctldLogFile=$out/slurm/slurmctld.log
SlurmdLogFile=$out/slurm/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
END

# Waits, a minute at most, until a command succeeds.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || {
            echo "error: waited in vain for: $*; see $out/daemons.log and $out/slurm" >&2
            exit 1
        }
        sleep 0.2
    done
}
until_true test -S slurm/munge.socket
daemon slurmctld -D
until_true sh -c 'scontrol ping 2>/dev/null | grep -q " is UP"'
daemon slurmd -D -N n1
daemon slurmd -D -N n2
# shellcheck disable=SC2016 # for the inner shell
until_true sh -c 'test "$(sinfo --noheader --Node --states=idle --format=%N | wc -l)" = 2'

# Waits until no task of a job is left; each has its own line at most.
ended() {
    while [ -n "$(squeue --noheader --array --jobs "$1" 2>/dev/null)" ]; do sleep 0.5; done
}
# Where each task of a job ran and how it ended.
tasks() {
    scontrol --oneliner show job "$1" | tr ' ' '\n' |
        awk -F= '$1 == "ArrayTaskId" {task = $2} $1 == "JobState" {state = $2} $1 == "ExitCode" {code = $2}
            $1 == "NodeList" {print "task " task " on " $2 ": " state ", exit code:signal " code}' | sort
}

begin slurm.sh "$(sbatch --version), a controller and two nodes of one core on one machine"
echo
echo "A cluster"
run sinfo --Node
cp "$ways/sweep.sbatch" .
echo "\$ sbatch sweep.sbatch"
job=$(sbatch --parsable sweep.sbatch)
shards kill sweep/2
ended "$job"
tasks "$job" | tee tasks
# One shard was killed, and the others are done: the script would prove nothing if it were otherwise.
grep -q '^task 2 .*: FAILED, exit code:signal 0:9$' tasks
[ "$(grep -c ': COMPLETED, exit code:signal 0:0$' tasks)" = 3 ]
run gpu-makemore sweep report sweep/* >report.txt
tail -n 2 report.txt
grep -q '^missing: ' report.txt
echo "\$ sbatch --array=2 sweep.sbatch"
job=$(sbatch --parsable --array=2 sweep.sbatch)
ended "$job"
tasks "$job" | tee tasks
grep -q '^task 2 .*: COMPLETED, exit code:signal 0:0$' tasks
end
