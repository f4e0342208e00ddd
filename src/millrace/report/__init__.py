"""Pictures and pages: reports of runs, Data Docs of checks."""
