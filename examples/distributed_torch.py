r"""
Title: Coconut on several devices with PyTorch
Author: the keras_coconut developers
Date created: 2026/11/26
Description: Data parallel training by torch.distributed, started by torchrun.

One process for each device, on one machine:

    torchrun --nproc_per_node=2 examples/distributed_torch.py

and on several, here the first of two:

    torchrun --nnodes=2 --nproc_per_node=8 --node_rank=0 \
        --rdzv_backend=c10d --rdzv_endpoint=HOST0:1234 \
        examples/distributed_torch.py

With `--shard_optimizer` each process keeps its part of the optimizer state.

It runs on GPUs where there are some, else on the CPU, and without `torchrun` on
one device.
"""

import os

from command_line import run
from distributed_flags import FLAGS, check_devices, check_flags
from flag_sections import Section

devices = Section("Devices")
devices.switch(
    "shard_optimizer", False, "Whether to divide the optimizer state."
)


def main(argv):
    check_flags(argv, "torch")
    # Set by `torchrun`.
    check_devices(int(os.environ.get("WORLD_SIZE", "1")))
    from distributed_training import train

    train(None, shard_optimizer=FLAGS.shard_optimizer)


if __name__ == "__main__":
    run(main)
