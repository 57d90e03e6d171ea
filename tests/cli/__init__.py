"""The command line is built once for all its calls in this process: to build it takes half of a short verb's time."""

from functools import cache

import typer.main

typer.main.get_command = cache(typer.main.get_command)
