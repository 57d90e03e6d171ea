"""Reports: what people see of a history. Everything here only reads."""
