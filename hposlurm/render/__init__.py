"""Text from values: a trial's command line, batch scripts and the DeepSpeed configuration.

May import records, space, trial and errors. Pure functions: text and values in, text out.
"""
