"""What scripts/chaos is made of: a study of short trials, random faults, and an audit from outside."""
