"""
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

It runs on GPUs where there are some, else on the CPU, and without `torchrun` on
one device.
"""

from command_line import run
from distributed_flags import use_backend


def main(_):
    use_backend("torch")
    from distributed_training import train

    train(None)


if __name__ == "__main__":
    run(main)
