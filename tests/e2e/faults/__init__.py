"""What goes wrong, and what it costs users: an open-loop load, a ledger of its writes, and one fault at a time.

`make faults` runs each scenario three times (RUNS= says how often) and writes build/report/faults.json.
"""
