"""The worker: pulls tasks, trains, commits, reveals. Its executor is also what validators re-run work with."""
