"""`lad review`: the page of a report, served to this machine's browser, that takes verdicts."""
