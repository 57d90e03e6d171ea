"""Tests of hposlurm.report.notices."""
