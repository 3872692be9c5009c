"""Measure groundling beside the reference (transformers): `python -m benchmarks.speed --help`.

A case (`cases.py`) says what is measured; a function of its kind (`kinds.py`) makes contenders (`contenders.py`) of it.
`session.py` runs the cases: `measure.py` times the contenders in alternating rounds, `agreement.py` says how far their
results are apart, `memory.py` runs each once more in a process of its own. `report.py` turns the figures into tables.
`profile.py` looks into our model alone.
"""
