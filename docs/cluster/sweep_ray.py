"""python3 sweep_ray.py: four shards as four tasks, on the workers of the Ray cluster in RAY_ADDRESS.

Every worker needs the program and this folder, which they share. Ray starts a shard again, on any worker,
if its program or its worker ends early.
"""

import os
import subprocess

import ray

SHARDS = 4
HERE = os.getcwd()


@ray.remote(num_cpus=1, max_retries=3, retry_exceptions=True)  # with GPUs: num_gpus=1
def shard(number):
    command = ["gpu-makemore", "sweep", "--lr", "0.05,0.1,0.2", "--seeds", "4", "--steps", "20000"]
    command += ["--shard", f"{number}/{SHARDS}", "--out", f"sweep/{number}"]
    with open(f"{HERE}/sweep-{number}.log", "a") as log:
        subprocess.run(command, cwd=HERE, stdout=log, stderr=log, check=True)
    return ray.get_runtime_context().get_node_id()


ray.init()
for number, node in enumerate(ray.get([shard.remote(i + 1) for i in range(SHARDS)]), start=1):
    print(f"shard {number} ended on node {node[:8]}")
