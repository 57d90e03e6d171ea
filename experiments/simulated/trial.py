"""A fine-tune as one expects it: what an epoch costs, and how the loss falls. Write down your own, from a few runs."""

import math


def trial(params, from_step, to_step, seed):
    """One row for each epoch that is trained: its number, what is reported, the seconds since the training began."""
    miss = abs(math.log10(params["lr"] / 3e-5)) + 2 * params["wd"] + 0.1 * math.log2(params["bs"])
    noise = 0.01 * math.sin(seed)
    for epoch in range(from_step + 1, (to_step or 9) + 1):
        loss = 1.8 + 0.3 * miss + 1.5 * math.exp(-epoch / 2) + noise
        yield epoch, {"eval_loss": loss}, (epoch - from_step) * (420 / params["bs"] ** 0.5 + 60)
