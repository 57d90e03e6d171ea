"""The search compared in simulated time: tasks, this project's algorithms, other tools', and the scores."""
