# Run inside an environment with `pip install -e '.[dev]'`.
.PHONY: fast check test slow format coverage docs
JOBS ?= 0

fast:  ## while writing: lint, then stop at the first test that fails
	ruff check .
	pytest -x -q -n $(JOBS)

check:  ## everything that reads the code without running it
	ruff format --check .
	ruff check .
	mypy
	lint-imports

test:  ## all tests but the slow ones; `make test JOBS=2` spreads them
	pytest -n $(JOBS)

slow:  ## only the slow ones
	pytest -m slow

docs:  ## the site, into build/site; a broken link or reference fails
	mkdocs build --strict

format:
	ruff check --fix .
	ruff format .

coverage:
	pytest --cov --cov-report=term
