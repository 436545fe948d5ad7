# The phone function's commands; make alone lists them.

# Go fetches the toolchain that go.mod names, whatever this machine has.
export GOTOOLCHAIN = auto

EVENT    = events/phone.json
HOST     = 127.0.0.1
ENV      ?= dev
FUZZTIME = 5s

# SAM does not tell make for which architecture it builds; samconfig.toml knows
# what the template is given. Exported, since make deploy comes back through SAM.
export ARCH ?= $(or $(shell awk -v env='[$(ENV).' '/^\[/ {here = index($$0, env) == 1} \
	here && match($$0, /Architecture=[a-z0-9_]+/) {print substr($$0, RSTART + 13, RLENGTH - 13)}' samconfig.toml),x86_64)

MINIPROGRAM_TEST = examples/miniprogram/test

SAM_LOCAL = --env-vars events/env.json --add-host host.docker.internal:host-gateway

# The same flags wherever the function is built: static, stripped, and the same
# bytes from a checkout and from SAM's copy of it, which has no .git.
GO_BUILD = CGO_ENABLED=0 go build -buildvcs=false -trimpath -tags lambda.norpc -ldflags "-s -w"

.DEFAULT_GOAL := help
.PHONY: help run start invoke test test-miniprogram soak bench build build-PhoneFunction lint lint-security fuzz sam-invoke sam-start \
	deploy secret smoke logs delete build/local/bootstrap

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: build/local/bootstrap ## log in, tap and get a phone number, offline
	go run ./local -bootstrap $< -login

start: build/local/bootstrap ## keep the function up on :3000, WeChat on :3001, Secrets Manager on :3002 (HOST=0.0.0.0 for containers)
	@go build -buildvcs=false -o build/local/stage ./local
	build/local/stage -bootstrap $< -host $(HOST) -port 3000 -route "POST /phone"

invoke: build/local/bootstrap ## send one event to the function (EVENT=events/phone.json)
	@WATERMARK_MAX_AGE=0 go run ./local -bootstrap $< -event $(EVENT)

test: build/local/bootstrap ## prove the contract
	BOOTSTRAP=$(CURDIR)/$< go test -count=1 ./... # the cache does not see the bootstrap
	@python3 -c 'import samtranslator' 2>/dev/null || echo "left out: the template as SAM translates it, since aws-sam-translator is not here"

test-miniprogram: build/local/bootstrap $(MINIPROGRAM_TEST)/node_modules/.package-lock.json ## the mini-program's component against the function (Node 18 or later, and npm)
	@go build -buildvcs=false -o build/local/stage ./local
	cd $(MINIPROGRAM_TEST) && npm test --silent

$(MINIPROGRAM_TEST)/node_modules/.package-lock.json: $(MINIPROGRAM_TEST)/package-lock.json
	cd $(MINIPROGRAM_TEST) && npm ci --silent

soak: build/local/bootstrap ## run the soak tests (several minutes, Linux): 200,000 requests, long freezes, re-reads, the oracle's timing
	BOOTSTRAP=$(CURDIR)/$< go test -tags soak -count=1 -v -parallel 32 -bench . -benchtime 20000x -timeout 60m ./local/soak

bench: ## measure what docs/performance.md promises, in some minutes (BENCH=-short to see that it works; Linux)
	@$(GO_BUILD) -o build/bench/ ./functions/phone ./tools/bench/hello ./tools/bench/secretonly
	go run ./tools/bench $(BENCH)

build: ## build the bootstrap for Lambda, in build/lambda (ARCH=x86_64 or arm64)
	@$(MAKE) --no-print-directory build-PhoneFunction ARTIFACTS_DIR=build/lambda

build-PhoneFunction: # what sam build calls
	GOOS=linux GOARCH=$(subst x86_64,amd64,$(ARCH)) $(GO_BUILD) -o $(ARTIFACTS_DIR)/bootstrap ./functions/phone

build/local/bootstrap: # for this machine
	@$(GO_BUILD) -o $@ ./functions/phone

lint: ## format, vet, staticcheck
	@list=$$(go run cmd/gofmt -l .) && { test -z "$$list" || { echo "gofmt would change: $$list"; exit 1; }; }
	go vet ./...
	go vet -tags soak ./local/soak
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

lint-security: ## gosec, and actionlint for the workflows
	go run github.com/securego/gosec/v2/cmd/gosec@v2.30.0 -quiet ./...
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

fuzz: ## each fuzz target for a while (FUZZTIME=5s)
	go test -run '^$$' -fuzz '^FuzzEvent$$' -fuzztime $(FUZZTIME) ./functions/phone
	go test -run '^$$' -fuzz '^FuzzRequest$$' -fuzztime $(FUZZTIME) ./functions/phone
	go test -run '^$$' -fuzz '^FuzzAnswer$$' -fuzztime $(FUZZTIME) ./shared/wechat
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME) ./shared/opendata
	go test -run '^$$' -fuzz '^FuzzOpenPhone$$' -fuzztime $(FUZZTIME) ./shared/opendata

sam-invoke: ## the event through SAM CLI and Docker (make start HOST=0.0.0.0 beside it)
	sam build
	sam local invoke PhoneFunction --event $(EVENT) $(SAM_LOCAL)

sam-start: ## the API on :3010 through SAM CLI and Docker (make start HOST=0.0.0.0 beside it)
	sam build
	sam local start-api --port 3010 $(SAM_LOCAL)

deploy: ## build and deploy (ENV=dev or prod; FLAGS=--no-confirm-changeset in a pipeline); needs SAM CLI and an account, as all below
	sam validate --config-env $(ENV)
	sam build --config-env $(ENV)
	sam deploy --config-env $(ENV) $(FLAGS)

secret: ## put appid and app secret into the stack's secret: asked for, or the secret's JSON on standard input (ENV=dev)
	@go run ./tools/secret -env $(ENV)

smoke: ## prove a deployment without a user (URL=https://…/phone); needs no account
	@go run ./tools/smoke $(URL)

logs: ## follow both logs, the function's and the gateway's (ENV=dev)
	sam logs --config-env $(ENV) --tail

delete: ## delete the stack; a secret that it made stays (ENV=dev)
	sam delete --config-env $(ENV)
