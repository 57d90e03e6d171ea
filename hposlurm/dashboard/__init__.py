"""Shows studies on optuna-dashboard's web page, from a copy in memory.

May import what reads studies (report, publish). The page never reaches a study's files.
"""
