"""One tool's side of the pipe: reads requests as JSON lines, answers each with one. Runs in the tool's environment.

python serve.py MODULE      MODULE: one of searchbench.tools
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the tool prints is no answer
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    module = importlib.import_module(f"searchbench.tools.{sys.argv[1]}")
    tool: Any = None
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            if verb == "open":
                tool, answer = module.open_tool(*arguments), None
            else:
                answer = getattr(tool, verb)(*arguments)
            text = json.dumps({"answer": answer})
        except Exception:  # whatever it is, the other side has to know
            text = json.dumps({"error": traceback.format_exc()})
        print(text, file=answers, flush=True)


if __name__ == "__main__":
    main()
