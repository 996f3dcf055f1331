"""The scripts are run as a person runs them, each in a process, and never imported."""

collect_ignore = ["scripts"]
