# make setup once, then make test T=tests/images for the tests you work on. VENV=... takes another environment.
VENV ?= .venv
T ?=

.PHONY: setup test lint docs site ci clean

setup: # an editable installation, so that tests and command always run the code that lies here
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -e ".[dev]"

test:
	$(VENV)/bin/pytest $(T)

lint:
	bash .ci/lint $(VENV)/bin

docs: # pages made from the code, the files of smaller installations; links between documents lead somewhere
	$(VENV)/bin/python docs/make_options.py
	$(VENV)/bin/python docs/make_reference.py
	$(VENV)/bin/python docs/make_lean.py
	$(VENV)/bin/pytest -n 0 tests/docs

site: # the documentation as pages to read: site/index.html
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

ci: # all that a change must pass
	bash .ci/run

clean: # all that is made here, but for environments
	rm -rf build dist site *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find tlkit tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
