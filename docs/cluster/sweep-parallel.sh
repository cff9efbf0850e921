#!/bin/sh
# ./sweep-parallel.sh: four shards, two at a time. After a failure, the same line runs again what has not
# ended well. With `--sshlogin one,two --workdir "$PWD"`, on machines that share this folder.
SHARDS=4
seq "$SHARDS" | parallel --jobs 2 --joblog sweep.joblog --resume-failed \
    gpu-makemore sweep --lr 0.05,0.1,0.2 --seeds 4 --steps 20000 \
    --shard "{}/$SHARDS" --out "sweep/{}"
