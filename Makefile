# The first `make draw` or `make test` makes .venv and installs what it needs; later ones start at once.

prompt ?= three red apples under the night sky
export prompt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help draw test check docs

help:
	@echo 'make draw     draw a picture into pictures/   (make draw prompt="a blue cat on the beach")'
	@echo 'make test     run the tests'
	@echo 'make check    format, lint, types and tests: what must hold before a change lands'
	@echo 'make docs     build the documentation into docs/_build/html'

draw: .venv/.limner
	@mkdir -p pictures
	@.venv/bin/limner draw --out pictures/ -- "$$prompt"
	@if [ "$$(command -v limner)" != "$(CURDIR)/.venv/bin/limner" ]; then \
		echo 'To draw more, type: source .venv/bin/activate' >&2; \
		echo 'From then on this shell knows limner; without it, write .venv/bin/limner.' >&2; \
	fi

test: .venv/.limner-dev
	@scripts/check tests

check: .venv/.limner-dev
	@scripts/check

docs: .venv/.limner-docs
	@scripts/build-docs

.venv/.limner: pyproject.toml scripts/make-venv
	@scripts/make-venv

.venv/.limner-dev: pyproject.toml scripts/make-venv
	@scripts/make-venv dev

.venv/.limner-docs: pyproject.toml scripts/make-venv
	@scripts/make-venv docs
