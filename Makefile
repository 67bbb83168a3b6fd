# The table of contents: every task of the house, each one command into bin/. `make` alone prints this list.
.DEFAULT_GOAL := help
.PHONY: help run smoke reset tail setup test test-unit test-contract test-integration test-e2e check fmt lock proto docs openapi chart loadtest clean

help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
run: setup ## Start everything with the demo organisation and print the address (Ctrl-C stops it)
	@.venv/bin/python -m giaoban_dev up
smoke: ## Ask every part of a running stack for an answer
	@.venv/bin/python -m giaoban_dev smoke
tail: ## Follow the logs of a running stack
	@bin/tail
reset: ## Delete the local stack's data, secrets and logs
	@.venv/bin/python -m giaoban_dev reset

##@ Check
setup: ## Install what running needs; skips what is there
	@bin/setup
test: ## Everything a change must pass
	@bin/test
check: ## Style, types, layers, contracts, web, chart: no servers
	@bin/check
test-unit: ## Tests without sockets, in seconds
	@bin/test unit
test-contract: ## Contract tests: doubles against the real thing, wire formats
	@bin/test contract
test-integration: ## Each part against the real PostgreSQL, NATS and Janus
	@bin/test integration
test-e2e: ## The whole house with a real browser
	@bin/test e2e
loadtest: setup ## Load tests judged by the table of goals; SCENARIO=name for one, SET="a=1 b=2", TARGET=https://… ACCOUNTS=file
	@$(if $(TARGET),,bin/in-netns) .venv/bin/python -m giaoban_loadtests.runner $(SCENARIO) $(addprefix --set ,$(SET)) $(if $(TARGET),--target $(TARGET)) $(if $(ACCOUNTS),--accounts $(ACCOUNTS))

##@ Change
fmt: ## Format the code
	@.venv/bin/ruff check --quiet --fix-only . && .venv/bin/ruff format --quiet . && if [ -f web/package.json ]; then npm --prefix web run --silent fmt --if-present; fi
proto: ## Generate code from proto/
	@bin/proto
docs: ## Generate the pages on errors, events and configuration
	@bin/docs
openapi: ## Write the public API's description
	@bin/openapi
lock: ## Pin what the pyproject files ask for
	@bin/lock
chart: ## Render and check the Helm chart
	@bin/chart
clean: ## Delete what can be made again (not the cache outside the checkout)
	@rm -rf .venv .state/stamps .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis test-results web/dist web/node_modules
