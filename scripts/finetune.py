"""Fine-tunes a causal language model on SQuAD-format questions; experiments/squad/finetune.py is the program.

torchrun --standalone --nproc-per-node 2 scripts/finetune.py --data rajpurkar/squad --train-samples 1000
python scripts/finetune.py --model tiny-bloom --data experiments/data/squad-sample.json --lr 3e-3 --bs 8
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "squad"))

from finetune import run

if __name__ == "__main__":
    run()
