# shellcheck shell=sh
# Read by the other scripts here: the place of the rehearsal, and the sweep on one machine to compare with.
#
#   SCRIPT [PROGRAM [OUT]]    PROGRAM: target/release/gpu-makemore unless given; OUT: a new folder in /tmp
#
# It leaves OUT as it is, so that one can look at it.
here=$(cd "$(dirname "$0")" && pwd)
ways=$(dirname "$here")
root=$(cd "$ways/../.." && pwd)
program=$(realpath -e "${1:-$root/target/release/gpu-makemore}")
out=$(realpath -m "${2:-$(mktemp -d "${TMPDIR:-/tmp}/rehearsal.XXXXXX")}")
mkdir -p "$out/bin"
[ ! -e "$out/sweep" ] || {
    echo "error: $out/sweep is there already: a rehearsal begins in an empty folder" >&2
    exit 1
}
ln -sf "$program" "$out/bin/gpu-makemore"
PATH="$out/bin:$PATH"
cd "$out" || exit

# Says what is run, and runs it.
run() {
    echo "\$ $*"
    "$@"
}

shards() {
    python3 "$here/shards.py" "$@"
}

# What a reader of the output has to know. $1: the script; the other lines: the versions that matter.
begin() {
    echo "docs/cluster/rehearse/$1, $(date -u +%Y-%m-%d)"
    echo "$(gpu-makemore --version), commit $(git -C "$root" describe --always --dirty --exclude '*')"
    shift
    printf '%s\n' "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), $(nproc) cores" "$@"
    echo
    echo "One machine"
    run gpu-makemore sweep --lr 0.05,0.1,0.2 --seeds 4 --steps 20000 --keep 12 --out whole >whole.log
    sed -n '/^\$/p; /^device/p; /^sweep/p; /^best/p' whole.log
}

# The report of all folders, and the comparison.
end() {
    echo
    echo "The whole"
    run gpu-makemore sweep report sweep/[1-4] >report.txt
    sed '/^$/,/^$/d' report.txt
    shards kept sweep/2
    echo "\$ shards.py compare whole sweep/[1-4]"
    shards compare whole sweep/[1-4]
}
