"""Times a checkout of the authors' code on the same shapes; runs on its own.

    OFFICIAL_PYTHON benchmarks/official.py PATH '{"shape": {...}, ...}'

Needs nothing of keras_coconut, only what the checkout needs: torch and
transformers. Random weights and tokens of the same sizes; prints one line of
JSON.
"""

import json
import resource
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def load(path, shape):
    sys.path.insert(0, path)
    from coconut import Coconut

    size = shape["vocabulary"]
    config = GPT2Config(
        vocab_size=size,
        n_layer=shape["layers"],
        n_head=shape["heads"],
        n_embd=shape["hidden"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    begin, end, thought, end_of_text = size - 2, size - 1, size - 3, size - 4
    return Coconut(GPT2LMHeadModel(config), thought, begin, end, end_of_text)


def batch(model, shape, rows, response):
    """Padded on the left so that thoughts stand together, as its collator."""
    torch.manual_seed(0)
    question, thoughts = shape["question"], shape["thoughts"]
    length = question + thoughts + response
    ids = torch.randint(0, shape["vocabulary"] - 4, (rows, length))
    ids[:, question - 1] = model.start_latent_id
    ids[:, question : question + thoughts] = model.latent_token_id
    ids[:, question + thoughts] = model.end_latent_id
    padding = torch.linspace(0, shape["padding"] * question, rows).long()
    slots = torch.arange(length)[None]
    mask = (slots >= padding[:, None]).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    labels = ids.clone()
    labels[:, : question + thoughts + 1] = -100
    return ids, mask, labels, positions


def train(model, shape, rounds):
    data = batch(model, shape, shape["batch"], shape["response"])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.01)

    def step():
        start = time.perf_counter()
        optimizer.zero_grad()
        model(*data).loss.backward()
        optimizer.step()
        return time.perf_counter() - start

    step()
    return [step() for _ in range(rounds)]


def generate(model, shape, rounds, tokens):
    taken = []
    for _ in range(rounds):
        ids, mask, _, _ = batch(model, shape, 1, 1)
        model.eos_token_id = -1  # Never stops.
        start = time.perf_counter()
        with torch.no_grad():
            model.generate(ids, mask, max_new_tokens=tokens)
        taken.append(time.perf_counter() - start)
    return taken


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: " + __doc__.split("\n\n")[1].strip())
    path, spec = sys.argv[1], json.loads(sys.argv[2])
    shape = spec["shape"]
    model = load(path, shape)
    result = {}
    if {"train", "memory"} & set(spec["measures"]):
        result["train"] = train(model, shape, spec["rounds"])
        # Kilobytes on Linux.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        result["peak"] = peak
    if "generate" in spec["measures"]:
        result["generate"] = generate(model, shape, 3, spec["tokens"])
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
